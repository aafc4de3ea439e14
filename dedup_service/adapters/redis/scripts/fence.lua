-- Ends all leases for a shard that has forgotten, by a new number of the fence; once for each generation of that shard. Follows
-- safe_calls.lua. KEYS[1]: the marker of the leases' own shard. ARGV: the shard and its generation.
-- Returns how long ago that was, in ms, and the keys that were unreadable.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local field = 'fenced:' .. ARGV[1]
local found, since = string.match(safe('HGET', KEYS[1], field) or '', '^(%d+) (%d+)$')
if found ~= ARGV[2] or tonumber(since) > now then
  since = string.format('%.0f', now)
  safe('HINCRBY', KEYS[1], 'fence', 1)
  redis.call('HSET', KEYS[1], field, ARGV[2] .. ' ' .. since)
end
return {now - since, unreadable}
