-- Refuses to work on claims that are not complete. Follows marker.lua.
if not (is_known() and is_ready) then
  return REFUSED
end
