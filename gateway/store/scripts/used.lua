-- Tokens that were used. KEYS: last, from, awaited, due, notices. ARGV: id, time in ms, address, and so on.
-- A first use that is waited for becomes a notice that is due now.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for i = 1, #ARGV, 3 do
  local id, used, from = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local before = redis.call('ZSCORE', KEYS[1], id)
  if not before or tonumber(before) < tonumber(used) then
    redis.call('ZADD', KEYS[1], used, id)
    redis.call('HSET', KEYS[2], id, from)
  end
  local notice = redis.call('HGET', KEYS[3], id)
  if notice then
    redis.call('HSET', KEYS[5], 'replacement_' .. id, notice)
    redis.call('ZADD', KEYS[4], now, 'replacement_' .. id)
    redis.call('HDEL', KEYS[3], id)
  end
end
