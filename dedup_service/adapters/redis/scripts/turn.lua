-- Takes or keeps a turn, which one caller at a time has. Follows safe_calls.lua. KEYS[1]: the turn. ARGV: the caller, and for how
-- long (ms). Returns 1, or 0 when another one has it; and the keys that were unreadable.
local holder = safe('GET', KEYS[1])
if holder and redis.call('PTTL', KEYS[1]) < 0 then -- no turn of ours lasts for ever
  forget(KEYS[1])
  holder = nil
end
if holder and holder ~= ARGV[1] then
  return {0, unreadable}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, unreadable}
