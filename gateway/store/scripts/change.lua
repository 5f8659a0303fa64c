-- ARGV: action, then its arguments. Answers {outcome, now, field, value, ...}; the outcome is done, absent, or the state that forbids it.
local action = ARGV[1]
local record = fields()
if not record.id then
  return {'absent', digits(NOW)}
end

local function answer(outcome)
  local reply = redis.call('HGETALL', INFO)
  table.insert(reply, 1, digits(NOW))
  table.insert(reply, 1, outcome)
  return reply
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
keep(record)
return answer('done')
