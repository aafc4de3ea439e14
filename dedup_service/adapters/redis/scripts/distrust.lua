-- Takes the server for one that has forgotten. Follows safe_calls.lua and marker.lua. Returns the number of calls.
if not is_known() then
  return REFUSED
end
redis.call('HSET', marker, 'server', FORGETFUL)
return {calls}
