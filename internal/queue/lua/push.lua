-- Lets a case wait in a queue: a new one, a returned one, one that moved or
-- whose order changed. Whoever had it in hand has it no more.
--
-- KEYS  1-5 see common.lua; 6, 7 queue it waits in; 8, 9 queue it waited in (only with ARGV[10])
-- ARGV  1 case  2 queue  3 version  4 score  5 opened ms  6 member  7 mode: push, or load from the
--       rows, which needs no epoch  8 now ms  9 grace ms of a reservation  10 queue of KEYS[8], or ''
-- returns  ok | same (known already) | old (a newer version is known) | moved, queue (call again
--          with that queue as ARGV[10]) | epoch (Redis was emptied)
local case, queue, load, now, grace = ARGV[1], ARGV[2], ARGV[7] == 'load', tonumber(ARGV[8]), tonumber(ARGV[9])
local version = tonumber(ARGV[3])

if not load and redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'epoch' }
end
local r = known()
if r.n > version then
  return { 'old' }
end
if r.st and r.n == version then
  if r.st == 'w' and r.q == queue and r.m == ARGV[6] then
    return { 'same' }
  end
  -- Reserved or gone at this very version: what is known here is what came
  -- after it, unless it is so old that its owner must have died before the
  -- row was written.
  if r.st ~= 'w' and not (load and now - r.t > grace) then
    return { 'same' }
  end
end
if r.st == 'w' then
  if r.q == queue then
    unlist(case, r.m)
  elseif r.q == ARGV[10] then
    redis.call('ZREM', KEYS[8], r.m)
    redis.call('ZREM', KEYS[9], case)
  else
    return { 'moved', r.q }
  end
elseif r.st == 'h' then
  let_go(case, r.u, r.q)
end
redis.call('DEL', KEYS[5])
redis.call('HSET', KEYS[5], 'st', 'w', 'v', ARGV[3], 'q', queue, 'm', ARGV[6], 's', ARGV[4], 'o', ARGV[5])
redis.call('ZADD', KEYS[6], ARGV[4], ARGV[6])
redis.call('ZADD', KEYS[7], ARGV[5], case)
if not load then
  told('pushed', queue, case, '', ARGV[3])
end
return { 'ok' }
