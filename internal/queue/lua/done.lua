-- Frees a member from a case that he had in hand.
--
-- KEYS  1-5 see common.lua
-- ARGV  1 case  2 user  3 now ms
-- returns  ok | no (he does not hold it) | epoch (Redis was emptied)
local case, user = ARGV[1], ARGV[2]

if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'epoch' }
end
local r = known()
if r.st ~= 'h' or r.u ~= user then
  return { 'no' }
end
let_go(case, user, r.q)
gone(r.v, ARGV[3])
told('done', r.q, case, user, r.v)
return { 'ok' }
