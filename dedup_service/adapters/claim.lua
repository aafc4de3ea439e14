-- Claim keys for copies; see core/claims.py for the layout (Lua counts bytes from 1). Follows accounting.lua.
-- KEYS: claim keys. ARGV[1]: the live hub incarnations, 4 bytes each; none: nobody knows. ARGV[2]: MessagePack of the key
-- prefix, the groups, the sources as [digest, text], and the epochs, or '' for no accounting. ARGV[3]: for each key a record
-- of RECORD bytes (adapters/redis_claims.py): the claim, then TTL in ms, numbers of group, replica and source, flags, sequence,
-- source time, number of the epoch.
-- Returns one text: for each key '0' where it was free and now holds the given claim, or '1'; then, for each '1', the claim
-- that was found. Redis 6 suffices.
local CLAIM, RECORD = 35, 66
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

local call, records, flags, claims = redis.call, ARGV[3], {}, {}
local at = 1
for i, key in ipairs(KEYS) do
  local claim = sub(records, at, at + CLAIM - 1)
  local ttl, group, replica, source, kind, sequence, time, epoch = decode('>dBBHBddH', records, at + CLAIM)
  at = at + RECORD
  local found = call('GET', key)
  local is_free, is_own, before, after = not found, false, nil, nil
  if found then
    if #found ~= CLAIM then
      return redis.error_reply('ERR a key of this namespace (DEDUP_NAMESPACE) holds something that is no claim')
    end
    is_own = sub(found, 6, 21) == sub(claim, 6, 21)
    before = decode('>i4', found, 2)
    after = bor(before, lshift(1, replica))
    is_free = is_orphan(found)
    if is_free then
      call('SET', key, sub(claim, 1, 1) .. struct.pack('>i4', after) .. sub(claim, 6), 'PX', TTLS[ttl])
    elseif after ~= before then
      -- Another replica delivered the same reading: remember it in the claim, whose TTL stays.
      call('SET', key, sub(found, 1, 1) .. struct.pack('>i4', after) .. sub(found, 6), 'KEEPTTL')
    end
  else
    call('SET', key, claim, 'PX', TTLS[ttl])
  end
  if is_free then
    flags[i] = '0'
  else
    flags[i] = '1'
    claims[#claims + 1] = found
  end
  if is_accounting and not is_own then
    account(claim, group, replica, source, kind, sequence, time, epoch, found, before, after)
  end
end
if is_accounting then
  settle()
end
return table.concat(flags) .. table.concat(claims)
