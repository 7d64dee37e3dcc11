-- Put in front of every script that changes a case. They share the first five keys:
--   KEYS[1] epoch    KEYS[2] held    KEYS[3] count    KEYS[4] changes    KEYS[5] case
-- and, where they touch a queue:
--   KEYS[6] waiting  KEYS[7] age     of one queue
-- All keys of one call carry the same hash tag, the company.

-- Seconds that a case is remembered after it left, so that a late message
-- about it is known to be late.
local REMEMBER = 3600

-- told adds a line to the stream of changes.
local function told(kind, queue, case, user, version)
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', '10000', '*', 'k', kind, 'q', queue or '', 'c', case, 'u', user or '', 'v', version or '')
end

-- known reads what is known of the case; absent fields are false.
local function known()
  local r = redis.call('HMGET', KEYS[5], 'st', 'v', 'q', 'm', 's', 'o', 'u', 't')
  return { st = r[1], v = r[2], n = tonumber(r[2] or '0'), q = r[3], m = r[4], s = r[5], o = r[6], u = r[7], t = tonumber(r[8] or '0') }
end

local function less(field)
  if redis.call('HINCRBY', KEYS[3], field, -1) <= 0 then
    redis.call('HDEL', KEYS[3], field)
  end
end

-- let_go takes the case out of a member's hands.
local function let_go(case, user, queue)
  if redis.call('HDEL', KEYS[2], case) == 1 then
    less('u:' .. user)
    less('q:' .. queue)
  end
end

-- take puts the case, which nobody holds, into a member's hands.
local function take(case, user, queue, version)
  redis.call('HSET', KEYS[2], case, version .. '|' .. queue .. '|' .. user)
  redis.call('HINCRBY', KEYS[3], 'u:' .. user, 1)
  redis.call('HINCRBY', KEYS[3], 'q:' .. queue, 1)
end

-- unlist takes the case out of the queue whose keys were given.
local function unlist(case, m)
  redis.call('ZREM', KEYS[6], m)
  redis.call('ZREM', KEYS[7], case)
end

-- gone remembers that the case left at this version.
local function gone(version, now)
  redis.call('DEL', KEYS[5])
  redis.call('HSET', KEYS[5], 'st', 'g', 'v', version, 't', now)
  redis.call('EXPIRE', KEYS[5], REMEMBER)
end

-- full tells whether a member holds as many cases as he may; 0 is no limit.
local function full(user, capacity)
  local c = tonumber(capacity)
  return c > 0 and tonumber(redis.call('HGET', KEYS[3], 'u:' .. user) or '0') >= c
end
