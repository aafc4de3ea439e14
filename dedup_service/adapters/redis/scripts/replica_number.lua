-- Returns the number of a replica, which is allotted once. KEYS[1]: the hash of the group's replicas. ARGV: the replica's name,
-- and how many numbers there are. The last number is shared by all replicas beyond the others and never stored: a sender that
-- makes up names must not fill the memory.
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
