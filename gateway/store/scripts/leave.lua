-- Sessions end, and links that were not used. ARGS[2]: how many sessions the entry says; ARGS[3]: the name of one, "" for all in the index. Answers
-- {appended, how many sessions there are}. Where that is another number nothing is done; where there is nothing to end nothing is noted.
local living, sessions = {}, 0
for _, name in ipairs(ARGS[3] ~= '' and {ARGS[3]} or redis.call('ZRANGE', INDEX, 0, -1)) do
  if redis.call('EXISTS', PREFIX .. name) == 1 then
    living[#living + 1] = name
    if string.sub(name, 1, 8) == 'session:' then
      sessions = sessions + 1
    end
  end
end
if #living > 0 and sessions == tonumber(ARGS[2]) then
  append()
  for _, name in ipairs(living) do
    drop(name)
  end
end
return {APPENDED, sessions}
