-- KEYS[3]: ids, KEYS[4]: the owner's, KEYS[5]: ends. ARGS (see audit.lua): how many tokens an owner may have, what the key of a live value begins with,
-- lifetime in ms, then name and value of each field. Answers {appended, {outcome, now, field, value, ...}}: the outcome is done, taken or full.
local IDS, OWNED, ENDS, MOST = KEYS[3], KEYS[4], KEYS[5], tonumber(ARGS[1])
if redis.call('EXISTS', LIVE, INFO) > 0 then
  return {APPENDED, {'taken', digits(NOW)}}
end

-- Ended tokens are in the index for as long as their records are kept: only where there are as many entries, the living are counted, newest first.
local function is_full()
  local entries, living = redis.call('ZCARD', OWNED), 0
  for first = 0, entries - 1, 500 do
    for _, id in ipairs(redis.call('ZREVRANGE', OWNED, first, first + 499)) do
      living = living + redis.call('EXISTS', ARGS[2] .. '{' .. id .. '}')
      if living >= MOST then
        return true
      end
    end
  end
  return false
end
if redis.call('ZCARD', OWNED) >= MOST and is_full() then
  return {APPENDED, {'full', digits(NOW)}}
end

local record = {}
for i = 4, #ARGS, 2 do
  record[ARGS[i]] = ARGS[i + 1]
end
record.state = 'active'
record.version = '1'
record.created_at = digits(NOW)
record.expires_at = digits(NOW + tonumber(ARGS[3]))
record.previous = ''
record.overlap_until = '0'
append()
redis.call('ZADD', IDS, digits(NOW), record.id)
redis.call('ZADD', OWNED, digits(NOW), record.id)
keep(record)
redis.call('ZADD', ENDS, record.expires_at, record.id)
local answer = redis.call('HGETALL', INFO)
table.insert(answer, 1, digits(NOW))
table.insert(answer, 1, 'done')
return {APPENDED, answer}
