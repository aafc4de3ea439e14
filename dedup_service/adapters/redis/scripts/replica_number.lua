-- Returns the number of a replica, which is allotted once, and the keys that were unreadable. Follows safe_calls.lua.
-- KEYS[1]: the hash of the group's replicas. ARGV: the replica's name, how many numbers there are, and the one that it had before, or
-- -1: where that was forgotten, claims still have it. The last number is shared by
-- all replicas beyond the others and never stored: a sender that makes up names must not fill the memory.
local name, others = ARGV[1], ARGV[2] - 1
local stored = safe('HGET', KEYS[1], name)
local number = whole(stored)
if number and number >= 0 and number < others then
  return {number, unreadable}
end
if stored then
  redis.call('HDEL', KEYS[1], name)
  unreadable[#unreadable + 1] = KEYS[1]
end
local taken, stored_all = {}, redis.call('HGETALL', KEYS[1])
for i = 2, #stored_all, 2 do
  taken[stored_all[i]] = true
end
local former = whole(ARGV[3]) or -1
if former >= 0 and former < others and not taken[tostring(former)] then
  redis.call('HSET', KEYS[1], name, former)
  return {former, unreadable}
end
for free = 0, others - 1 do
  if not taken[tostring(free)] then
    redis.call('HSET', KEYS[1], name, free)
    return {free, unreadable}
  end
end
return {others, unreadable}
