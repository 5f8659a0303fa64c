-- Head of every script that writes into the audit log: the entry is appended with the change that it tells of, or neither is made. KEYS: the stream
-- is the last. ARGV: the newest entry's number and hash as the caller knows them, the new one's number, text, hash, signature and key; then ARGS.
-- Where another is the newest, nothing is done; the caller is told what has been written since, newest first, and signs anew.
local AUDIT = KEYS[#KEYS]
local ARGS = {unpack(ARGV, 8)}

-- Stream ids are the server's own: with entry numbers as ids, one who deletes the newest entry would have the next one refused for ever.
local newest = redis.call('XREVRANGE', AUDIT, '+', '-', 'COUNT', 1)
local number, hash = '0', ''
if newest[1] then
  for i = 1, #newest[1][2], 2 do
    if newest[1][2][i] == 'n' then
      number = newest[1][2][i + 1]
    elseif newest[1][2][i] == 'h' then
      hash = newest[1][2][i + 1]
    end
  end
end
if number ~= ARGV[1] or (newest[1] and hash ~= ARGV[2]) then
  local since = (tonumber(number) or 0) - tonumber(ARGV[1]) + 1
  return {'conflict', redis.call('XREVRANGE', AUDIT, '+', '-', 'COUNT', math.min(math.max(since, 1), 1000))}
end

local APPENDED = '0'
local function append()
  redis.call('XADD', AUDIT, '*', 'n', ARGV[3], 'e', ARGV[4], 'h', ARGV[5], 's', ARGV[6], 'k', ARGV[7])
  APPENDED = '1'
end
