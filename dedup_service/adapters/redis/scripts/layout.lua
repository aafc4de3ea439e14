-- Agrees on the number of shards, since claims that were made with one number are not found with another. The first pod with
-- another number changes it as soon as nobody else holds leases. What the markers of either number say is then to be ended, for good
-- or bad: what was claimed meanwhile is not there. Follows safe_calls.lua, marker.lua and at_work.lua.
-- KEYS[1]: the home's marker. KEYS[2]: the configuration at work. ARGV[1]: the number of shards. ARGV[2]: the pod's configuration.
-- ARGV[3]: for how long that is at work from now on, in ms.
-- Returns whether pods of another configuration are at work (0 or 1; then this call had no effect), the numbers of shards whose
-- markers are to be ended, separated by spaces, and the keys that were unreadable.
local number, ending = unpack(safe('HMGET', KEYS[1], 'shards', 'ending'))
if number == ARGV[1] and not ending and safe('GET', KEYS[2]) ~= ARGV[2] then
  return {0, '', unreadable}
end
if another_is_at_work(KEYS[2], ARGV[2], tonumber(ARGV[3])) then
  return {1, '', unreadable}
end
if number and number ~= ARGV[1] then
  ending = (ending or '') .. ' ' .. number .. ' ' .. ARGV[1]
  redis.call('HSET', KEYS[1], 'server', FORGETFUL, 'ending', ending)
end
redis.call('HSET', KEYS[1], 'shards', ARGV[1])
return {0, ending or '', unreadable}
