-- Takes due notices, so that nobody else does meanwhile. KEYS: due, notices. ARGV: how many, for how long in ms. Answers {now, id, notice, ...}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {string.format('%.0f', now)}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])) do
  local notice = redis.call('HGET', KEYS[2], id)
  if notice then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), id)
    answer[#answer + 1] = id
    answer[#answer + 1] = notice
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return answer
