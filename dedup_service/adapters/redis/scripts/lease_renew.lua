-- Renews all leases of a pod, writes their records, and returns who is alive and what is free.
-- KEYS[1]: the pods. KEYS[2]: the sample. Then the lease of each partition.
-- ARGV[1]: the pod. ARGV[2]: TTL in ms. Then for each lease the epoch that the pod holds and its record, or '' and ''.
-- Returns the pods, the sample, and for each lease `held`, `lost`, `free` or `taken`.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[2])

redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ttl)

local function is_free(lease)
  local deadline, released = unpack(redis.call('HMGET', lease, 'deadline', 'released'))
  return not deadline or released == '1' or tonumber(deadline) <= now
end

local states = {}
for i = 3, #KEYS do
  local lease, epoch, record = KEYS[i], ARGV[2 * i - 3], ARGV[2 * i - 2]
  if epoch == '' then
    states[i - 2] = is_free(lease) and 'free' or 'taken'
  elseif redis.call('HGET', lease, 'epoch') == epoch then
    redis.call('HSET', lease, 'deadline', now + ttl)
    if record ~= '' then
      redis.call('HSET', lease, 'record', record)
    end
    states[i - 2] = 'held'
  else
    states[i - 2] = 'lost'
  end
end
return {redis.call('ZRANGE', KEYS[1], 0, -1), redis.call('GET', KEYS[2]) or '', states}
