-- Takes out an entry that a comparison has found in Redis but not in the rows,
-- if it is still what was compared.
--
-- KEYS  1-5 see common.lua; 6, 7 queue of the entry
-- ARGV  1 case  2 state compared: w waiting, h held  3 version compared  4 member in the sorted set,
--       '' for h  5 now ms  6 grace ms of a reservation
-- returns  ok | no (it has changed, or is too young to judge)
local case, state = ARGV[1], ARGV[2]
local r = known()
if state == 'w' then
  if r.st == 'w' and r.m == ARGV[4] then
    unlist(case, r.m)
    gone(r.v, ARGV[5])
    told('removed', r.q, case, '', r.v)
    return { 'ok' }
  end
  -- An entry that its case knows nothing of.
  if redis.call('ZREM', KEYS[6], ARGV[4]) == 1 then
    if r.st ~= 'w' then
      redis.call('ZREM', KEYS[7], case)
    end
    return { 'ok' }
  end
  return { 'no' }
end
if r.st == 'h' and r.v == ARGV[3] then
  if tonumber(ARGV[5]) - r.t <= tonumber(ARGV[6]) then
    return { 'no' }
  end
  let_go(case, r.u, r.q)
  gone(r.v, ARGV[5])
  told('done', r.q, case, r.u, r.v)
  return { 'ok' }
end
return { 'no' }
