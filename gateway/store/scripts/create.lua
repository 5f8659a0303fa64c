-- KEYS[3]: ids, KEYS[4]: the owner's, KEYS[5]: ends, KEYS[6]: awaited; where another token is replaced, KEYS[7] and KEYS[8]: its live and info.
-- ARGS (see audit.lua): how many tokens an owner may have, what the key of a live value begins with, lifetime in ms, whether another is replaced (1 or 0),
-- the notice that the first use is worth ("" for none), then name and value of each field. Answers {appended, {outcome, now, field, value, ...}}: the outcome is done, taken or full.
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
for i = 6, #ARGS, 2 do
  record[ARGS[i]] = ARGS[i + 1]
end
record.state = 'active'
record.version = '1'
record.created_at = digits(NOW)
record.expires_at = digits(NOW + tonumber(ARGS[3]))
record.previous = ''
record.overlap_until = '0'

-- The one whose place it takes comes first: a record that is damaged fails here, before anything is written. One that is gone by now needs no word of it.
local replaced = ARGS[4] == '1' and fields(KEYS[8]) or {}
if replaced.id then
  replaced.replaced_by = record.id
  replaced.version = digits(replaced.version + 1)
  keep(replaced, KEYS[7], KEYS[8])
end
append()
if ARGS[5] ~= '' then
  redis.call('HSET', KEYS[6], record.id, ARGS[5])
end
redis.call('ZADD', IDS, digits(NOW), record.id)
redis.call('ZADD', OWNED, digits(NOW), record.id)
keep(record, LIVE, INFO)
redis.call('ZADD', ENDS, record.expires_at, record.id)
local answer = redis.call('HGETALL', INFO)
table.insert(answer, 1, digits(NOW))
table.insert(answer, 1, 'done')
return {APPENDED, answer}
