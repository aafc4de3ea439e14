-- Looks at a shard's marker, and makes a new one where it is missing, names another server, or is of an earlier generation than
-- the caller has seen. Follows safe_calls.lua and marker.lua. ARGV[1]: '1' when claims may be made at once, without reading the
-- clean stream back. ARGV[2]: the lowest generation that may go on. A new marker keeps the numbers of the fences, which must not
-- come again, the time at which claims were last missing (restore.lua), and the number of shards (layout.lua); where there was one,
-- a new term of claims begins.
-- ARGV[3]: how many terms there are.
-- Returns the time in ms, the marker's fields and values, and the keys that were unreadable.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored, server, since, fence, forgot, term, shards, ending =
  unpack(safe('HMGET', KEYS[1], 'generation', 'server', 'since', 'fence', 'forgot', 'term', 'shards', 'ending'))
local id = server_id()

-- A number as this script writes it, or nil. The service must be able to read what is kept, and a generation that is far ahead of
-- the time could not rise for ever.
local FAR_AHEAD_MS = 1e12
local function written(text)
  local number = whole(text)
  return number and number <= now + FAR_AHEAD_MS and string.format('%.0f', number) == text and number
end

-- One that begins in the future was written by another clock, by which nobody can tell when the leases of before have ended.
if not (written(stored) and written(since) and written(fence)) or written(since) > now or server == FORGETFUL
  or not server or (id ~= '' and server ~= id) or written(stored) < tonumber(ARGV[2]) then
  local following = string.format('%.0f', math.max((written(stored) or 0) + 1, ARGV[2] + 1, now))
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'generation', following, 'server', id, 'since', string.format('%.0f', now),
    'fence', written(fence) and fence or '0', 'ready', '0', 'calls', '0',
    'term', stored and ((written(term) or 0) + 1) % ARGV[3] or 0)
  local kept = {forgot = written(forgot) and forgot, shards = shards, ending = ending}
  for name, value in pairs(kept) do
    if value then
      redis.call('HSET', KEYS[1], name, value)
    end
  end
end
if ARGV[1] == '1' then
  redis.call('HSET', KEYS[1], 'ready', '1')
end
return {now, redis.call('HGETALL', KEYS[1]), unreadable}
