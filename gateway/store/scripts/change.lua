-- KEYS[3]: workers. ARGS (see audit.lua): action, then its arguments.
-- Answers {appended, {outcome, now, uptime, workers, {field, value, ...}}}: the outcome is done, absent, or the state that forbids it; uptime is the server's in s, so that one who has just started, and may have lost who was registered, is known;
-- workers are those that may still know the token as it was before.
local action = ARGS[1]
local record = fields(INFO)
if not record.id then
  return {APPENDED, {'absent', digits(NOW), '0', {}, {}}}
end

local function answer(outcome)
  local workers, uptime = {}, '0'
  if outcome == 'done' then
    workers = redis.call('ZRANGEBYSCORE', KEYS[3], digits(NOW), '+inf')
    uptime = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
  end
  return {APPENDED, {outcome, digits(NOW), uptime, workers, redis.call('HGETALL', INFO)}}
end

-- A repeat changes nothing, but is pushed as a change is: who asks again may not have heard that all workers know.
local function again()
  redis.call('SET', LIVE, '', 'PX', 1)
  keep(record, LIVE, INFO)
  return answer('done')
end

local expired = NOW >= tonumber(record.expires_at)
if action == 'rename' then
  for i = 2, #ARGS, 2 do
    record[ARGS[i]] = ARGS[i + 1]
  end
elseif action == 'revoke' then
  if record.state == 'revoked' then
    return again()
  end
  record.state = 'revoked'
  record.ended_at = expired and record.expires_at or digits(NOW)
elseif record.state == 'revoked' then
  return answer('revoked')
elseif expired then
  return answer('expired')
elseif action == 'regenerate' then
  if record.state == 'suspended' then
    return answer('suspended')
  end
  local overlap = tonumber(ARGS[3])
  record.previous = record.digest
  record.digest = ARGS[2]
  record.overlap_until = overlap > 0 and digits(math.min(NOW + overlap, tonumber(record.expires_at))) or '0'
  record.regenerated_at = digits(NOW)
else
  local state = action == 'suspend' and 'suspended' or 'active'
  if record.state == state then
    return again()
  end
  record.state = state
end
record.version = digits(record.version + 1)
append()
keep(record, LIVE, INFO)
return answer('done')
