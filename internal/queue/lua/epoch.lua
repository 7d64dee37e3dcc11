-- Ends a comparison with the rows: says that the company's keys are complete,
-- unless Redis lost its keys meanwhile.
--
-- KEYS  1 epoch  2 mark of the comparison  3 changes
-- ARGV  1 new epoch
-- returns  1 complete | 0 the mark is gone: compare again
if redis.call('DEL', KEYS[2]) == 0 then
  return 0
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', '10000', '*', 'k', 'reload')
end
return 1
