-- What one pod has made for all. Follows safe_calls.lua. KEYS: the content, behind the time at which it was made; whose turn it is.
-- ARGV: how old the content may be, and how long a turn lasts (ms). Returns the content or false, 1 where the caller is to make the
-- next, and the keys that were unreadable.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored = safe('GET', KEYS[1])
local made, content = string.match(stored or '', '^(%d+) (.*)$')
if stored and not whole(made) then
  forget(KEYS[1])
end
local age = now - (whole(made) or 0)
if content and age >= 0 and age < tonumber(ARGV[1]) then
  return {content, 0, unreadable}
end
if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('PTTL', KEYS[2]) < 0 then -- no turn of ours lasts for ever
  forget(KEYS[2])
end
local is_mine = redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2])
return {content or false, is_mine and 1 or 0, unreadable}
