-- KEYS[3]: workers. ARGV: action, then its arguments. Answers {outcome, now, age, workers, {field, value, ...}}: the outcome is done, absent, or
-- the state that forbids it; age is how long ago in ms the token was last changed; workers are those that may still know it as it was before.
local action = ARGV[1]
local record = fields()
if not record.id then
  return {'absent', digits(NOW), '0', {}, {}}
end
local changed_at = tonumber(record.changed_at or '0')

local function answer(outcome)
  local workers = outcome == 'done' and redis.call('ZRANGEBYSCORE', KEYS[3], digits(NOW), '+inf') or {}
  return {outcome, digits(NOW), digits(NOW - changed_at), workers, redis.call('HGETALL', INFO)}
end

local expired = NOW >= tonumber(record.expires_at)
if action == 'rename' then
  for i = 2, #ARGV, 2 do
    record[ARGV[i]] = ARGV[i + 1]
  end
elseif action == 'revoke' then
  if record.state == 'revoked' then
    return answer('done')
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
  local overlap = tonumber(ARGV[3])
  record.previous = record.digest
  record.digest = ARGV[2]
  record.overlap_until = overlap > 0 and digits(math.min(NOW + overlap, tonumber(record.expires_at))) or '0'
  record.regenerated_at = digits(NOW)
else
  local state = action == 'suspend' and 'suspended' or 'active'
  if record.state == state then
    return answer('done')
  end
  record.state = state
end
record.version = digits(record.version + 1)
record.changed_at = digits(NOW)
changed_at = NOW
keep(record)
return answer('done')
