-- The number of a replica, allotted once. KEYS[1]: the hash of this group's replicas. ARGV: the replica's name, and how
-- many numbers there are: a sender that makes up names gets the last one, which is nobody's, and fills no memory.
local number = redis.call('HGET', KEYS[1], ARGV[1])
if number then
  return tonumber(number)
end
number = redis.call('HLEN', KEYS[1])
if number >= ARGV[2] - 1 then
  return ARGV[2] - 1
end
redis.call('HSET', KEYS[1], ARGV[1], number)
return number
