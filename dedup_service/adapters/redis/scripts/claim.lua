-- Claim keys for copies; see core/claims.py for the layout (Lua counts bytes from 1). Follows accounting.lua.
-- KEYS: claim keys. ARGV[1]: the live hub incarnations, 4 bytes each; none: nobody knows. ARGV[2]: MessagePack of the key
-- prefix, the groups, the sources as [digest, text], and the epochs, or '' for no accounting. ARGV[3]: for each event a head of
-- HEAD bytes, and behind it for each of its readings, in the order of the keys, a record of RECORD bytes; both as
-- adapters/claim_records.py packs them.
-- Returns one text: for each key '0' where it was free and is now claimed, or '1'; then, for each '1', the claim that was found.
-- Redis 6 suffices.
local CLAIM, HEAD, RECORD = 35, 33, 31
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
local BITS_OF = lazy(function(mask)
  return struct.pack('>i4', mask)
end)

local call, records, flags, claims = redis.call, ARGV[3], {}, {}
local at, i = 1, 0
while at <= #records do
  local event, enqueued, ttl, group, replica, count = decode('>c14c6dHBH', records, at)
  local bit_of_replica = lshift(1, replica)
  at = at + HEAD
  if is_accounting then
    open_event(event, enqueued, group, replica)
  end
  for _ = 1, count do
    local index, content, source, kind, sequence, time, epoch = decode('>c2c8HBddH', records, at)
    at, i = at + RECORD, i + 1
    local key = KEYS[i]
    local found = call('GET', key)
    local is_own, before, after = false, 0, bit_of_replica
    if found then
      if #found ~= CLAIM then
        return redis.error_reply('ERR a key of this namespace (DEDUP_NAMESPACE) holds something that is no claim')
      end
      is_own = sub(found, 6, 19) == event and sub(found, 20, 21) == index
      before = decode('>i4', found, 2)
      after = bor(before, bit_of_replica)
    end
    if not found or is_orphan(found) then
      call('SET', key, '\0' .. BITS_OF[after] .. event .. index .. enqueued .. content, 'PX', TTLS[ttl])
      flags[i] = '0'
    else
      if after ~= before then
        -- Another replica delivered the same reading: remember it in the claim, whose TTL stays.
        call('SET', key, sub(found, 1, 1) .. BITS_OF[after] .. sub(found, 6), 'KEEPTTL')
      end
      flags[i] = '1'
      claims[#claims + 1] = found
    end
    if is_accounting and not is_own then
      account(index, content, source, kind, sequence, time, epoch, found, before, after)
    end
  end
end
if is_accounting then
  settle()
end
return table.concat(flags) .. table.concat(claims)
