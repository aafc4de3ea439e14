-- Ends a shard's marker, if there is one: what is claimed there may not be complete. Follows safe_calls.lua and marker.lua.
-- KEYS[1]: the marker. Returns the keys that were unreadable.
if safe('HGET', KEYS[1], 'server') then
  redis.call('HSET', KEYS[1], 'server', FORGETFUL)
end
return {unreadable}
