-- One GCRA (ITU-T I.371) step. KEYS: the limit. ARGV: requests, period in microseconds. Answers {allowed, remaining, wait in us, now in us}.
-- The key holds the theoretical arrival time. The interval is rounded up, so that the rate is never above the limit; all numbers are
-- whole and below 2^53, so that Lua counts them exactly.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local requests = tonumber(ARGV[1])
local interval = math.ceil(tonumber(ARGV[2]) / requests)
local span = interval * requests

local due = tonumber(redis.call('GET', KEYS[1]) or now)
-- Past: all may come at once. Too far ahead: the limit was narrowed, or the clock was set back.
due = math.min(math.max(due, now), now + span)

local wait = due + interval - (now + span)
if wait > 0 then
  return {0, 0, wait, string.format('%.0f', now)}
end
due = due + interval
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1)  -- keys end by whole milliseconds: not before it is due
return {1, math.floor((now + span - due) / interval), 0, string.format('%.0f', now)}
