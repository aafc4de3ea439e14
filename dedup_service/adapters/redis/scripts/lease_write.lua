-- Writes a record, and releases the lease if asked to. Follows marker_fence.lua. KEYS[1]: the lease. ARGV: epoch, record, released (0 or 1).
-- Returns 1, or 0 when the lease has another epoch; the keys that were unreadable, and the number of calls.
if safe('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return {0, unreadable, calls}
end
redis.call('HSET', KEYS[1], 'record', ARGV[2], 'released', ARGV[3])
return {1, unreadable, calls}
