-- KEYS[3]: ends. ARGV: lifetime in ms, then name and value of each field. Answers {outcome, now, field, value, ...}.
if redis.call('EXISTS', LIVE, INFO) > 0 then
  return {'taken', digits(NOW)}
end
local record = {}
for i = 2, #ARGV, 2 do
  record[ARGV[i]] = ARGV[i + 1]
end
record.state = 'active'
record.version = '1'
record.created_at = digits(NOW)
record.expires_at = digits(NOW + tonumber(ARGV[1]))
record.previous = ''
record.overlap_until = '0'
keep(record)
redis.call('ZADD', KEYS[3], record.expires_at, record.id)
local answer = redis.call('HGETALL', INFO)
table.insert(answer, 1, digits(NOW))
table.insert(answer, 1, 'done')
return answer
