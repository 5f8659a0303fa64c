-- Makes the notices of coming ends. KEYS: ends, swept, due, notices. ARGV: most at once, then days before the end and, for the first time ever, how
-- many days back to look, and so on. Answers how many there were: as many as asked for means that there may be more.
local DAY = 86400000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function digits(number)
  return string.format('%.0f', number)
end

local made = 0
for i = 2, #ARGV, 2 do
  local days = tonumber(ARGV[i])
  local from = tonumber(redis.call('HGET', KEYS[2], ARGV[i]) or now - ARGV[i + 1] * DAY)
  local upto = now
  local first, last = '(' .. digits(from + days * DAY), digits(upto + days * DAY)
  local found = redis.call('ZRANGEBYSCORE', KEYS[1], first, last, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
  if #found >= 2 * ARGV[1] then
    -- Whoever ends in the same millisecond as the last one goes with it.
    upto = tonumber(found[#found]) - days * DAY
    found = redis.call('ZRANGEBYSCORE', KEYS[1], first, found[#found], 'WITHSCORES')
  end
  for j = 1, #found, 2 do
    local id = 'expiry_' .. found[j] .. '_' .. ARGV[i]
    redis.call('HSET', KEYS[4], id, '{"kind":"expiry","facts":{"token_id":"' .. found[j] .. '","days":' .. ARGV[i] .. '}}')
    redis.call('ZADD', KEYS[3], digits(now), id)
    made = math.max(made, j / 2)
  end
  redis.call('HSET', KEYS[2], ARGV[i], digits(upto))
end
-- Long over: nobody asks for them any more.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', digits(now - 90 * DAY))
return math.ceil(made)
