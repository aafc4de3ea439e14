-- Looks at a shard's marker, and makes a new one where it is missing or names another server. Follows safe_calls.lua and marker.lua.
-- ARGV[1]: '1' when claims may be made at once, without reading the clean stream back. A new marker keeps the numbers of the
-- fences, which must not come again, and the time at which claims were last missing (restore.lua).
-- Returns the time in ms, the marker's fields and values, and the keys that were unreadable.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored, server, since, fence, forgot = unpack(safe('HMGET', KEYS[1], 'generation', 'server', 'since', 'fence', 'forgot'))
local id = server_id()
if not (whole(stored) and whole(since) and whole(fence)) or server ~= id then
  local following = string.format('%.0f', math.max((whole(stored) or 0) + 1, now))
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'generation', following, 'server', id, 'since', string.format('%.0f', now),
    'fence', whole(fence) and fence or '0', 'ready', '0', 'calls', '0')
  if whole(forgot) then
    redis.call('HSET', KEYS[1], 'forgot', forgot)
  end
end
if ARGV[1] == '1' then
  redis.call('HSET', KEYS[1], 'ready', '1')
end
return {now, redis.call('HGETALL', KEYS[1]), unreadable}
