-- Keep the highest beat of a database.
-- KEYS[1] the beat
-- ARGV[1] the beat that was written
-- returns the highest
local was = tonumber(redis.call('GET', KEYS[1]) or 0)
local now = tonumber(ARGV[1])
if now <= was then return was end
redis.call('SET', KEYS[1], ARGV[1])
return now
