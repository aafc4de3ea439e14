-- Claim keys for copies; see core/claims.py for the layout (Lua counts bytes from 1). Follows accounting.lua.
-- KEYS: claim keys. ARGV[1]: the live hub incarnations, 4 bytes each; none: nobody knows. ARGV[2]: MessagePack of the key
-- prefix, the groups, and the sources as [digest, text], or '' for no accounting. Then for each key: claim, and packed
-- (adapters/redis_claims.py): TTL in ms, numbers of group, replica and source, flags, sequence, source time, epoch.
-- Returns for each key the claim that was found, or '' where the key was free and now holds the given claim.
-- Redis 6 suffices.
local live, any_live = {}, #ARGV[1] > 0
for at = 1, #ARGV[1], 4 do
  live[sub(ARGV[1], at, at + 3)] = true
end
local is_accounting = ARGV[2] ~= ''
if is_accounting then
  open_accounts(ARGV[2])
end

-- An unconfirmed claim of a hub that is gone: its winner can never be read again, so it must not block.
local function is_orphan(found)
  return any_live and byte(found, 1) == 0 and not live[sub(found, 6, 9)]
end

local TTLS = lazy(function(ttl)
  return format('%.0f', ttl)
end)

local results = {}
for i, key in ipairs(KEYS) do
  local claim, packed = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local ttl, group, replica, source, flags, sequence, time, rest = decode('>dBBHBdd', packed)
  local found = redis.call('GET', key)
  local winner, before, after
  if not found then
    redis.call('SET', key, claim, 'PX', TTLS[ttl])
    results[i] = ''
  else
    before = decode('>i4', found, 2)
    after = bor(before, lshift(1, replica))
    winner = found
    if is_orphan(found) then
      redis.call('SET', key, sub(claim, 1, 1) .. struct.pack('>i4', after) .. sub(claim, 6), 'PX', TTLS[ttl])
      results[i] = ''
    else
      results[i] = found
      -- Another replica delivered the same reading: remember it in the claim, whose TTL stays.
      if after ~= before then
        redis.call('SET', key, sub(found, 1, 1) .. struct.pack('>i4', after) .. sub(found, 6), 'KEEPTTL')
      end
    end
  end
  local is_own = found and sub(found, 6, 21) == sub(claim, 6, 21)
  if is_accounting and not is_own then
    account(claim, group, replica, source, flags, sequence, time, sub(packed, rest), winner, before, after)
  end
end
if is_accounting then
  settle()
end
return results
