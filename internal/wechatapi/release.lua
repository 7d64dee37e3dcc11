-- Give a lease back, unless it lapsed and somebody else holds it now.
-- KEYS[1] the lease
-- ARGV[1] the holder's value
-- returns 1 when it was given back, 0 otherwise
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
end
return 0
