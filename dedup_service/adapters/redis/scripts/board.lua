-- What a pod reports to the others. Follows the constants and safe_calls.lua. KEYS: the pods' statuses, how far each pod's counters
-- were added, the totals, what the counts of an hour and those of a minute begin with, and whether silent pods were dropped lately.
-- ARGV: pod, number of this report, status, how long a silent pod is kept (ms), how many totals there are, how many counters of this
-- hour, then pairs of counter and increment: those of totals, those of this hour, and what was finished since the last report, as
-- `group|kind`. A report that arrives twice, because its reply was lost, counts once. Returns the keys that were unreadable.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local pod, number = ARGV[1], tonumber(ARGV[2])

-- Looks at the reports of all pods, so it must not come with each report of each of them.
local function drop_silent()
  local statuses = safe('HGETALL', KEYS[1])
  for i = 1, #statuses, 2 do
    local at = whole(string.match(statuses[i + 1], '^%d+'))
    if not at or now - at > tonumber(ARGV[4]) then
      redis.call('HDEL', KEYS[1], statuses[i])
      safe('HDEL', KEYS[2], statuses[i])
    end
  end
end

local until_next = redis.call('PTTL', KEYS[6])
if until_next == -1 then -- nothing of ours lasts for ever
  forget(KEYS[6])
end
if until_next < 0 then
  redis.call('SET', KEYS[6], '1', 'PX', SWEEP_MS)
  drop_silent()
end
safe('HSET', KEYS[1], pod, string.format('%.0f ', now) .. ARGV[3])
if (whole(safe('HGET', KEYS[2], pod)) or -1) < number then
  local first_of_hour = 7 + 2 * tonumber(ARGV[5])
  local first_of_flow = first_of_hour + 2 * tonumber(ARGV[6])
  for i = 7, first_of_hour - 1, 2 do
    safe('HINCRBY', KEYS[3], ARGV[i], ARGV[i + 1])
  end
  local of_hour = string.format('%s:%.0f', KEYS[4], math.floor(now / HOUR_MS))
  for i = first_of_hour, first_of_flow - 1, 2 do
    safe('HINCRBY', of_hour, ARGV[i], ARGV[i + 1])
    redis.call('EXPIRE', of_hour, KEEP_HOURS * 3600)
  end
  local minute, slot = math.floor(now / MINUTE_MS), math.floor(now % MINUTE_MS / SLOT_MS)
  for i = first_of_flow, #ARGV, 2 do
    local group, kind = string.match(ARGV[i], '^(.*)|(%a)$')
    local of_minute = string.format('%s:%s:%.0f', KEYS[5], group, minute)
    safe('HINCRBY', of_minute, slot .. kind, ARGV[i + 1])
    redis.call('EXPIRE', of_minute, KEEP_FLOW_SECONDS)
  end
  redis.call('HSET', KEYS[2], pod, number)
end
return unreadable
