-- Puts a case into a member's hands because its row says so: assigned by a
-- supervisor, claimed while Redis was away, or found so by a comparison.
--
-- KEYS  1-5 see common.lua; 6, 7 queue it waits in
-- ARGV  1 case  2 queue  3 user  4 version of the row  5 capacity, 0 for none  6 now ms
--       7 mode: hold, or load from the rows, which needs no epoch  8 queue of KEYS[6]
-- returns  ok, user who had it or '' | old (a newer version is known) | full | moved, queue (call
--          again with that queue's keys) | epoch (Redis was emptied)
local case, queue, user, version = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local load = ARGV[7] == 'load'

if not load and redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'epoch' }
end
local r = known()
if r.n > version then
  return { 'old' }
end
local before = ''
if r.st == 'h' then
  before = r.u
end
if before ~= user and full(user, ARGV[5]) then
  return { 'full' }
end
if r.st == 'w' then
  if r.q ~= ARGV[8] then
    return { 'moved', r.q }
  end
  unlist(case, r.m)
elseif r.st == 'h' then
  let_go(case, r.u, r.q)
end
-- The row has decided, so no place is kept for a release.
redis.call('DEL', KEYS[5])
redis.call('HSET', KEYS[5], 'st', 'h', 'v', ARGV[4], 'q', queue, 'u', user, 't', ARGV[6])
take(case, user, queue, ARGV[4])
if not load then
  told('held', queue, case, user, ARGV[4])
end
return { 'ok', before }
