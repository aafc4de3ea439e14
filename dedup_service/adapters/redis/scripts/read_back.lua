-- Notes how far a clean partition was read back. Follows safe_calls.lua and marker.lua. ARGV[1]: the partition. ARGV[2]: to which
-- time, in ms. ARGV[3]: the sequence number of its first event from then on. Then all clean partitions: once this is noted for each
-- of them, claims may be made.
-- Returns the keys that were unreadable, and the number of calls.
if not is_known() then
  return REFUSED
end

local function read_back_to(partition)
  return whole(string.match(safe('HGET', marker, 'back:' .. partition) or '', '^(%d+) %-?%d+$'))
end

local before = read_back_to(ARGV[1])
if not before or before > tonumber(ARGV[2]) then
  redis.call('HSET', marker, 'back:' .. ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
end
local are_all = true
for i = 4, #ARGV do
  are_all = are_all and read_back_to(ARGV[i]) ~= nil
end
if are_all then
  redis.call('HSET', marker, 'ready', '1')
end
return {unreadable, calls}
