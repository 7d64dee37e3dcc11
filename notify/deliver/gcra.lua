-- Take a place in the rate that all nodes share for one account (GCRA: the
-- theoretical time of the next call is all that is kept).
-- KEYS[1] next time of the lanes that may use a part of the rate only
-- KEYS[2] next time of the emergency lane, which may use all of it
-- ARGV[1] 1 for the emergency lane, else 0
-- ARGV[2] microseconds between two calls of the part
-- ARGV[3] microseconds between two calls of the whole rate
-- ARGV[4] burst, in calls
-- ARGV[5] longest wait in microseconds; a longer one takes no place
-- ARGV[6] how many places to take one after the other
-- returns microseconds to wait, or minus them when no place was taken
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local places = tonumber(ARGV[6] or 1)

local function take(key, gap, burst, longest)
  local at = tonumber(redis.call('GET', key) or 0)
  if at < now then at = now end
  local wait = at - now - (burst - 1) * gap
  if wait < 0 then wait = 0 end
  if longest >= 0 and wait > longest then return -wait end
  local nxt = at + gap * places
  redis.call('SET', key, string.format('%.0f', nxt), 'PX', math.ceil((nxt - now) / 1000) + 1000)
  return wait
end

local rest, whole = tonumber(ARGV[2]), tonumber(ARGV[3])
local burst, longest = tonumber(ARGV[4]), tonumber(ARGV[5])
if ARGV[1] == '1' then
  -- The others give up this place too, up to a second ahead.
  take(KEYS[1], rest, burst, 1000000)
  return take(KEYS[2], whole, burst, -1)
end
return take(KEYS[1], rest, burst, longest)
