-- Renews all leases of a pod, writes their records, and returns who takes part and what is free. Follows at_work.lua and
-- lease_begun.lua.
-- KEYS[1]: the pods that take part. KEYS[2]: when each pod last made progress. KEYS[3]: the sample. KEYS[4]: the configuration at
-- work. Then the lease of each partition.
-- ARGV[1]: the pod. ARGV[2]: TTL in ms. ARGV[3]: whether it takes part (0 or 1). ARGV[4]: how long ago it made progress, in ms, or ''.
-- ARGV[5]: its configuration, or ''. Then for each lease the epoch that the pod holds, its record, and how far it may begin; or '', ''
-- and ''.
-- Returns whether pods of another configuration are at work (0 or 1; then this call had no effect), the pods, how long ago any
-- other pod made progress in ms (or ''), the sample, for each lease `held`, `lost`, `free` or `taken`, the keys that were unreadable,
-- and the number of calls.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local pod, ttl = ARGV[1], tonumber(ARGV[2])
local PROGRESS_MS = 60000

if another_is_at_work(KEYS[4], ARGV[5], ttl) then
  return {1, {}, '', '', {}, unreadable, calls}
end

if ARGV[3] == '1' then
  safe('ZADD', KEYS[1], now, pod)
else
  safe('ZREM', KEYS[1], pod)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ttl)
if ARGV[4] ~= '' then
  safe('ZADD', KEYS[2], now - ARGV[4], pod)
end
safe('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - PROGRESS_MS)

local function others_progressed_ago()
  local latest = redis.call('ZREVRANGE', KEYS[2], 0, 1, 'WITHSCORES')
  for i = 1, #latest, 2 do
    if latest[i] ~= pod then
      return string.format('%.0f', math.max(0, now - latest[i + 1]))
    end
  end
  return ''
end

local function is_free(lease)
  local deadline, released = unpack(safe('HMGET', lease, 'deadline', 'released'))
  return released == '1' or (whole(deadline) or 0) <= now
end

local states = {}
for i = 5, #KEYS do
  local lease, epoch, record, begun = KEYS[i], ARGV[3 * i - 9], ARGV[3 * i - 8], ARGV[3 * i - 7]
  if epoch == '' then
    states[i - 4] = is_free(lease) and 'free' or 'taken'
  elseif safe('HGET', lease, 'epoch') == epoch then
    redis.call('HSET', lease, 'deadline', now + ttl)
    if record ~= '' then
      redis.call('HSET', lease, 'record', record)
    end
    note_begun(lease, epoch, begun)
    states[i - 4] = 'held'
  else
    states[i - 4] = 'lost'
  end
end
return {0, redis.call('ZRANGE', KEYS[1], 0, -1), others_progressed_ago(), safe('GET', KEYS[3]) or '', states, unreadable, calls}
