-- Takes a free lease. KEYS[1]: the lease. KEYS[2]: the configuration at work. ARGV[1]: the pod. ARGV[2]: TTL in ms. ARGV[3]: its
-- configuration, or ''. Follows at_work.lua.
-- Returns the new epoch, or '' when another pod holds the lease or pods of another configuration are at work, the last owner's
-- record, up to which event that owner may have begun to send (or '' where it did not say), whether that is of the present generation
-- (0 or 1), the keys that were unreadable, and the number of calls.
-- The epoch is above every earlier one, even if Redis has forgotten them, because it is at least the time in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch, deadline, released, record, taken_in, noted =
  unpack(safe('HMGET', KEYS[1], 'epoch', 'deadline', 'released', 'record', 'generation', 'begun'))
local is_held = released ~= '1' and (whole(deadline) or 0) > now
if is_held or another_is_at_work(KEYS[2], ARGV[3], tonumber(ARGV[2])) then
  return {'', '', '', 0, unreadable, calls}
end
if epoch and not whole(epoch) then
  forget(KEYS[1])
  epoch, record = nil, nil
end
local noted_by, begun = string.match(noted or '', '^(%d+) (%d+)$')
local is_current = generation ~= '' and taken_in == generation and 1 or 0
local next_epoch = string.format('%.0f', math.max((whole(epoch) or 0) + 1, now))
redis.call('HSET', KEYS[1], 'epoch', next_epoch, 'deadline', now + tonumber(ARGV[2]), 'released', '0', 'owner', ARGV[1],
  'generation', generation)
return {next_epoch, record or '', noted_by == epoch and whole(begun) and begun or '', is_current, unreadable, calls}
