-- Says that at this version of its row the case does not wait any more. A
-- member who has it in hand keeps it.
--
-- KEYS  1-5 see common.lua; 6, 7 queue it waits in
-- ARGV  1 case  2 version  3 now ms  4 queue of KEYS[6]
-- returns  ok | held (in hand, version noted) | old (a newer version is known) | moved, queue (call
--          again with that queue's keys) | epoch (Redis was emptied)
local case, version = ARGV[1], tonumber(ARGV[2])

if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'epoch' }
end
local r = known()
if r.n > version then
  return { 'old' }
end
if r.st == 'h' then
  redis.call('HSET', KEYS[5], 'v', ARGV[2])
  redis.call('HSET', KEYS[2], case, ARGV[2] .. '|' .. r.q .. '|' .. r.u)
  return { 'held' }
end
if r.st == 'w' then
  if r.q ~= ARGV[4] then
    return { 'moved', r.q }
  end
  unlist(case, r.m)
  told('removed', r.q, case, '', ARGV[2])
end
gone(ARGV[2], ARGV[3])
return { 'ok' }
