-- Makes the numbers of cases in hand what the held cases say.
--
-- KEYS  1 held  2 count
-- returns  number of held cases
local held = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[2])
for i = 2, #held, 2 do
  local queue, user = string.match(held[i], '^[^|]*|([^|]*)|(.*)$')
  if queue then
    redis.call('HINCRBY', KEYS[2], 'u:' .. user, 1)
    redis.call('HINCRBY', KEYS[2], 'q:' .. queue, 1)
  end
end
return #held / 2
