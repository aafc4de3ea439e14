-- Refuses to work with leases of before the last fence. Follows marker_ready.lua, with the number of that fence as the last of ARGV.
if generation ~= '' and fence ~= table.remove(ARGV) then
  return REFUSED
end
