-- Writes a record, and releases the lease if asked to. Follows lease_begun.lua. KEYS[1]: the lease. ARGV: epoch, record, released (0 or 1),
-- and how far the owner may begin, or ''.
-- Returns 1, or 0 when the lease has another epoch; the keys that were unreadable, and the number of calls.
if safe('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return {0, unreadable, calls}
end
redis.call('HSET', KEYS[1], 'record', ARGV[2], 'released', ARGV[3])
note_begun(KEYS[1], ARGV[1], ARGV[4])
return {1, unreadable, calls}
