-- Reads the figures of queues.
--
-- KEYS  1 epoch  2 count, then for each queue: waiting, age
-- ARGV  the queues
-- returns  ok, then for each queue: waiting, when the oldest was opened (ms, '' for none), in hand |
--          epoch (Redis was emptied)
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'epoch' }
end
local out = { 'ok' }
for i, queue in ipairs(ARGV) do
  local oldest = redis.call('ZRANGE', KEYS[2 * i + 2], 0, 0, 'WITHSCORES')
  table.insert(out, tostring(redis.call('ZCARD', KEYS[2 * i + 1])))
  table.insert(out, oldest[2] or '')
  table.insert(out, redis.call('HGET', KEYS[2], 'q:' .. queue) or '0')
end
return out
