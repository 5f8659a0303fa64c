-- A session or a link begins. ARGS[2] on: its name, value and end, and the time now, in ms; the name of a link that is used up for it and of a session
-- whose place it takes, "" for none. Answers {appended, 1}, or 0 where the link is not there any more: then nothing begins.
local NAME, ENDS, NOW = ARGS[2], ARGS[4], ARGS[5]
if ARGS[6] ~= '' and not drop(ARGS[6]) then
  return {APPENDED, 0}
end
if ARGS[7] ~= '' then
  drop(ARGS[7])
end
append()
redis.call('SET', PREFIX .. NAME, ARGS[3], 'PXAT', ENDS)
redis.call('ZREMRANGEBYSCORE', INDEX, '-inf', '(' .. NOW)
redis.call('ZADD', INDEX, ENDS, NAME)
if redis.call('PTTL', INDEX) < ENDS - NOW then
  redis.call('PEXPIREAT', INDEX, ENDS)
end
return {APPENDED, 1}
