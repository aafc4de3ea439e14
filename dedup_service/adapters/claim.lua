-- Claim keys for copies; see core/claims.py for the layout (Lua counts bytes from 1). Follows accounting.lua.
-- KEYS: claim keys. ARGV[1]: the live hub incarnations, 4 bytes each; none: nobody knows. ARGV[2]: MessagePack of the key
-- prefix, the groups, and the sources as [digest, text], or '' for no accounting. Then for each key: claim, and packed
-- (adapters/redis_claims.py): TTL in ms, numbers of group, replica and source, flags, sequence, source time, epoch.
-- Returns for each key the claim that was found, or '' where the key was free and now holds the given claim.
-- Redis 6 suffices.
local live, any_live = {}, #ARGV[1] > 0
for at = 1, #ARGV[1], 4 do
  live[string.sub(ARGV[1], at, at + 3)] = true
end
local is_accounting = ARGV[2] ~= ''
if is_accounting then
  open_accounts(ARGV[2])
end

-- An unconfirmed claim of a hub that is gone: its winner can never be read again, so it must not block.
local function is_orphan(found)
  return any_live and string.byte(found, 1) == 0 and not live[string.sub(found, 6, 9)]
end

local function unpack_copy(packed)
  local ttl, group, replica, source, flags, sequence, time, rest = struct.unpack('>dBBHBdd', packed)
  return {
    ttl = string.format('%.0f', ttl),
    group = group,
    replica = replica,
    source = source,
    late = bit.band(flags, 1) ~= 0,
    sequence = bit.band(flags, 2) ~= 0 and sequence or nil,
    time = bit.band(flags, 4) ~= 0 and time or nil,
    epoch = string.sub(packed, rest),
  }
end

local function replicas_of(claim)
  return bit.tobit((struct.unpack('>I4', claim, 2)))
end

local results = {}
for i, key in ipairs(KEYS) do
  local claim, copy = ARGV[2 * i + 1], unpack_copy(ARGV[2 * i + 2])
  local found = redis.call('GET', key)
  if not found then
    redis.call('SET', key, claim, 'PX', copy.ttl)
    results[i] = ''
    if is_accounting then
      account(copy, claim)
    end
  else
    local before, own = replicas_of(found), string.sub(found, 6, 21) == string.sub(claim, 6, 21)
    local after = bit.bor(before, replicas_of(claim))
    local merged = struct.pack('>i4', after)
    if is_orphan(found) then
      redis.call('SET', key, string.sub(claim, 1, 1) .. merged .. string.sub(claim, 6), 'PX', copy.ttl)
      results[i] = ''
    else
      results[i] = found
      -- Another replica delivered the same reading: remember it in the claim, whose TTL stays.
      if after ~= before then
        redis.call('SET', key, string.sub(found, 1, 1) .. merged .. string.sub(found, 6), 'KEEPTTL')
      end
    end
    if is_accounting and not own then
      account(copy, claim, found, before, after)
    end
  end
end
if is_accounting then
  settle()
end
return results
