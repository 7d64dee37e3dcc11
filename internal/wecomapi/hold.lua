-- Takes a free lease or extends one's own: KEYS[1] the lease, ARGV[1] the
-- owner, ARGV[2] its life in milliseconds. 1 when the owner has it now.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
