-- Claim keys for copies; see core/claims.py for the layout (Lua counts bytes from 1).
-- KEYS: claim keys. ARGV[1]: the live hub incarnations, 4 bytes each. Then for each key: claim, TTL in ms.
-- Returns for each key the claim that was found, or '' where the key was free and now holds the given claim.
-- Uses GET and SET … PX / KEEPTTL only: Redis 6 suffices.
local live = {}
for at = 1, #ARGV[1], 4 do
  live[string.sub(ARGV[1], at, at + 3)] = true
end

-- An unconfirmed claim of a hub that is gone: its winner can never be read again, so it must not block.
local function is_orphan(found)
  return string.byte(found, 1) == 0 and not live[string.sub(found, 6, 9)]
end

-- Another replica delivered the same reading: remember it in the claim, whose TTL stays.
local function add_replica(key, found, claim)
  local before = struct.unpack('>I4', found, 2)
  local added = struct.unpack('>I4', claim, 2) -- a local, since unpack also returns the next position
  local after = bit.bor(before, added)
  if after ~= bit.tobit(before) then
    redis.call('SET', key, string.sub(found, 1, 1) .. struct.pack('>i4', after) .. string.sub(found, 6), 'KEEPTTL')
  end
end

local results = {}
for i, key in ipairs(KEYS) do
  local claim, ttl = ARGV[2 * i], ARGV[2 * i + 1]
  local found = redis.call('GET', key)
  if not found or is_orphan(found) then
    redis.call('SET', key, claim, 'PX', ttl)
    results[i] = ''
  else
    results[i] = found
    add_replica(key, found, claim)
  end
end
return results
