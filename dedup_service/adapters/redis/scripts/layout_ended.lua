-- Notes that the markers were ended which layout.lua named, unless others were added meanwhile. Follows safe_calls.lua.
-- KEYS[1]: the home's marker. ARGV[1]: what layout.lua named. Returns the keys that were unreadable.
if safe('HGET', KEYS[1], 'ending') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'ending')
end
return {unreadable}
