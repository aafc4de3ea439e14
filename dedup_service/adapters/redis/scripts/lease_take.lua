-- Takes a free lease. KEYS[1]: the lease. ARGV[1]: the pod. ARGV[2]: TTL in ms.
-- Returns the new epoch and the last owner's record, or '' when another pod holds the lease.
-- The epoch is above every earlier one, even if Redis has forgotten them, because it is at least the time in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch, deadline, released, record = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'deadline', 'released', 'record'))
if deadline and released ~= '1' and tonumber(deadline) > now then
  return ''
end
local next_epoch = string.format('%.0f', math.max(tonumber(epoch or 0) + 1, now))
redis.call('HSET', KEYS[1], 'epoch', next_epoch, 'deadline', now + tonumber(ARGV[2]), 'released', '0', 'owner', ARGV[1])
return {next_epoch, record or ''}
