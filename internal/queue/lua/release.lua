-- Gives a reservation back: the row went to somebody else, or was not written.
--
-- KEYS  1-5 see common.lua; 6, 7 queue of the reservation
-- ARGV  1 case  2 user  3 version of the reservation
-- returns  ok | no (it is not his any more) | epoch (Redis was emptied)
local case, user = ARGV[1], ARGV[2]

if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'epoch' }
end
local r = known()
if r.st ~= 'h' or r.u ~= user or r.v ~= ARGV[3] then
  return { 'no' }
end
let_go(case, user, r.q)
if r.m then
  redis.call('HSET', KEYS[5], 'st', 'w')
  redis.call('HDEL', KEYS[5], 'u', 't')
  redis.call('ZADD', KEYS[6], r.s, r.m)
  redis.call('ZADD', KEYS[7], r.o, case)
else
  -- Reserved before it was pushed: its place is not known; the next push or
  -- comparison with the rows brings it.
  redis.call('DEL', KEYS[5])
end
told('released', r.q, case, user, r.v)
return { 'ok' }
