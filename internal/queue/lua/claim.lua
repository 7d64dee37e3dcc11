-- Reserves a waiting case for a member who asks for it.
--
-- KEYS  1-5 see common.lua; 6, 7 queue it waits in
-- ARGV  1 case  2 queue  3 user  4 version of the row that the caller has read  5 capacity, 0 for
--       none  6 now ms  7 grace ms of a reservation  8 queue of KEYS[6]
-- returns  ok, version | again, version (he has it already) | taken, user | full | gone |
--          moved, queue (call again with that queue's keys) | epoch (Redis was emptied)
local case, queue, user, now, grace = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[6]), tonumber(ARGV[7])
local version = tonumber(ARGV[4])

if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'epoch' }
end
local r = known()
if r.st == 'h' then
  if r.u == user then
    return { 'again', r.v }
  end
  -- A row that waits at a newer version than that of an old hold was given
  -- back, and the message about it is lost.
  if not (version > r.n and now - r.t > grace) then
    return { 'taken', r.u }
  end
end
if r.st == 'g' and r.n >= version then
  return { 'gone' }
end
if r.st == 'w' and r.n > version and r.q ~= queue then
  return { 'gone' }
end
if full(user, ARGV[5]) then
  return { 'full' }
end
local v = ARGV[4]
if r.n > version then
  v = r.v
end
if r.st == 'w' then
  if r.q ~= ARGV[8] then
    return { 'moved', r.q }
  end
  unlist(case, r.m)
elseif r.st == 'h' then
  let_go(case, r.u, r.q)
elseif r.st == 'g' then
  redis.call('DEL', KEYS[5])
end
-- m, s and o stay, so that a release can put the case back into its place.
redis.call('HSET', KEYS[5], 'st', 'h', 'v', v, 'q', queue, 'u', user, 't', ARGV[6])
redis.call('PERSIST', KEYS[5])
take(case, user, queue, v)
told('claimed', queue, case, user, v)
return { 'ok', v }
