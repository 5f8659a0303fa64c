-- A worker has dropped what it knew of a token, reads it again and says up to which version. KEYS: info. ARGV: channel, token id, worker.
-- Nobody waits for the first version.
local version = redis.call('HGET', KEYS[1], 'version')
if version and version ~= '1' then
  redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. version .. ' ' .. ARGV[3])
end
return version
