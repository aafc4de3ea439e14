-- Confirm claims after the clean hub acknowledged their readings; see core/claims.py for the layout.
-- KEYS: claim keys. ARGV[1]: TTL in ms. ARGV[2]: for each key the claim as its owner made it, one behind the other.
-- Returns how many claims are now held by another origin.
local CLAIM = 35
local sub, call, ttl, claims = string.sub, redis.call, ARGV[1], ARGV[2]
local lost, at = 0, 1
for _, key in ipairs(KEYS) do
  local found = call('GET', key)
  if not found then
    -- It expired or was forgotten: what is published must be known as published.
    found = sub(claims, at, at + CLAIM - 1)
  end
  if sub(found, 6, 21) == sub(claims, at + 5, at + 20) then
    call('SET', key, '\1' .. sub(found, 2), 'PX', ttl)
  else
    lost = lost + 1
  end
  at = at + CLAIM
end
return lost
