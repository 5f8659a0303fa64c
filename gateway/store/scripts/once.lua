-- Compare and set. KEYS: one key. ARGV: the value that it must have ("" for none), the one that it gets ("" for none), its life in ms. Answers the value found.
local found = redis.call('GET', KEYS[1]) or ''
if found == ARGV[1] then
  if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  end
end
return found
