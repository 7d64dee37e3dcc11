-- Reads the front of a queue in claim order.
--
-- KEYS  1 epoch  2 waiting
-- ARGV  1 how many
-- returns  ok, then members of the sorted set | epoch (Redis was emptied)
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'epoch' }
end
local out = redis.call('ZRANGE', KEYS[2], 0, tonumber(ARGV[1]) - 1)
table.insert(out, 1, 'ok')
return out
