-- Takes a free lease. KEYS[1]: the lease. ARGV[1]: the pod. ARGV[2]: TTL in ms. Follows safe_calls.lua.
-- Returns the new epoch, the last owner's record, and the keys that were unreadable, or '' when another pod holds the lease.
-- The epoch is above every earlier one, even if Redis has forgotten them, because it is at least the time in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch, deadline, released, record = unpack(safe('HMGET', KEYS[1], 'epoch', 'deadline', 'released', 'record'))
if released ~= '1' and (whole(deadline) or 0) > now then
  return ''
end
if epoch and not whole(epoch) then
  forget(KEYS[1])
  epoch, record = nil, nil
end
local next_epoch = string.format('%.0f', math.max((whole(epoch) or 0) + 1, now))
redis.call('HSET', KEYS[1], 'epoch', next_epoch, 'deadline', now + tonumber(ARGV[2]), 'released', '0', 'owner', ARGV[1])
return {next_epoch, record or '', unreadable}
