-- A worker says that it lives. KEYS: workers, meta. ARGV: worker, lease in ms. Answers {store's id, now, whether it was still registered}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now))
local alive = until_ms and tonumber(until_ms) >= now and 1 or 0
return {redis.call('GET', KEYS[2]), string.format('%.0f', now), alive}
