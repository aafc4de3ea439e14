-- Confirms claims after the clean hub acknowledged their readings. Follows the constants, safe_calls.lua, marker_ready.lua and set_all.lua.
-- KEYS: claim keys. ARGV[1]: TTL in ms. ARGV[2]: for each key the claim as its owner made it, concatenated.
-- Returns how many claims are now held by another origin, the keys that were unreadable, and the number of calls.
local sub, call, ttl, claims = string.sub, redis.call, ARGV[1], ARGV[2]
local PUBLISHED = string.char(CONFIRMED)
local lost, at = 0, 1
-- What the keys hold, and those that are confirmed, which are written at the end.
local stored, held, confirmed = KEYS[1] and call('MGET', unpack(KEYS)) or {}, {}, {}
for i, key in ipairs(KEYS) do
  -- What is of another type looks missing to MGET.
  local found = held[key] or stored[i] or redis.pcall('GET', key)
  if found and #found ~= CLAIM_BYTES then
    forget(key)
    found = false
  end
  if not found then
    -- It expired or was forgotten; what is published must be remembered as published.
    found = sub(claims, at, at + CLAIM_BYTES - 1)
  end
  if sub(found, ORIGIN_FIRST, ORIGIN_LAST) == sub(claims, at + ORIGIN_FIRST - 1, at + ORIGIN_LAST - 1) then
    local is_restored = string.byte(found, 1) == RESTORED
    held[key], confirmed[#confirmed + 1] = is_restored and found or PUBLISHED .. sub(found, REPLICAS_FIRST), key
  else
    lost = lost + 1
  end
  at = at + CLAIM_BYTES
end
if not set_all(confirmed, held, 'PX', ttl) then
  for _, key in ipairs(confirmed) do
    call('SET', key, held[key], 'PX', ttl)
  end
end
return {lost, unreadable, calls}
