-- Shared head of begin.lua and leave.lua. KEYS: the subject's index. ARGS (see audit.lua): what every key begins with, then each one's own.
local INDEX, PREFIX = KEYS[1], ARGS[1]

-- Ends a session or a link, whoever's it is; false where there is none.
local function drop(name)
  local value = redis.call('GETDEL', PREFIX .. name)
  if value then
    redis.call('ZREM', PREFIX .. 'sessions:' .. cjson.decode(value)[1], name)
  end
  return value
end
