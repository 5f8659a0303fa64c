-- Shared head of create.lua and change.lua. KEYS: live, info.
local LIVE, INFO = KEYS[1], KEYS[2]
local KEPT_MS = 90 * 86400000  -- how long the holder of an ended secret can be told why

local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)

-- Lua would write a large number as 1.7e+12.
local function digits(number)
  return string.format('%.0f', number)
end

local function fields(info)
  local flat, map = redis.call('HGETALL', info), {}
  for i = 1, #flat, 2 do
    map[flat[i]] = flat[i + 1]
  end
  return map
end

-- Both keys of a token, from its record's fields: the only place that writes them.
local function keep(record, live_key, info_key)
  local live = '["' .. record.id .. '",' .. record.version .. ',"' .. record.state .. '",' .. record.created_at .. ','
    .. record.expires_at .. ',"' .. record.digest .. '","' .. record.previous .. '",' .. record.overlap_until .. ',' .. record.facts .. ']'
  record.live = live
  local flat = {}
  for name, value in pairs(record) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', info_key, unpack(flat))
  local ends = tonumber(record.expires_at)
  if record.state == 'revoked' then
    ends = tonumber(record.ended_at)
  end
  redis.call('PEXPIREAT', info_key, digits(ends + KEPT_MS))
  if ends > NOW then
    redis.call('SET', live_key, live, 'PXAT', digits(ends))
  else
    redis.call('DEL', live_key)
  end
end
