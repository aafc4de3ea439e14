-- Confirm claims after the clean hub acknowledged their readings; see core/claims.py for the layout.
-- KEYS: claim keys. ARGV[1]: TTL in ms. Then for each key: the claim as its owner made it.
-- Returns how many claims are now held by another origin.
local lost = 0
for i, key in ipairs(KEYS) do
  local claim = ARGV[i + 1]
  local found = redis.call('GET', key)
  if not found then
    found = claim -- it expired or was forgotten: what is published must be known as published
  end
  if string.sub(found, 6, 21) == string.sub(claim, 6, 21) then
    redis.call('SET', key, '\1' .. string.sub(found, 2), 'PX', ARGV[1])
  else
    lost = lost + 1
  end
end
return lost
