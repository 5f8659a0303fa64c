-- A secret that had ended was used. KEYS: reuse, throttle, due, notices. ARGV: id, time in ms, mark (JSON), notice id, notice (JSON), quiet time in ms.
-- The mark is always the latest; a notice is made once per token and address in the quiet time.
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before or cjson.decode(before)[1] < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
if redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[6]) then
  redis.call('HSET', KEYS[4], ARGV[4], ARGV[5])
  redis.call('ZADD', KEYS[3], ARGV[2], ARGV[4])
end
