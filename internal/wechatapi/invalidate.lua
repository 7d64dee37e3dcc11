-- Forget a refused access token, unless it has been replaced already.
-- KEYS[1] hash of the account's token (fields token, expires)
-- ARGV[1] the token that was refused
-- returns 1 when it was forgotten, 0 when another one stands there
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
end
return 0
