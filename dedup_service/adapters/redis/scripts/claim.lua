-- Claims keys for copies. Follows the constants, safe_calls.lua, marker_ready.lua and the three parts of the accounting; core/claims.py has the layout of a claim,
-- in which Lua counts bytes from 1.
-- KEYS: claim keys. ARGV[1]: the live hub incarnations, 4 bytes each; empty when they are not known. ARGV[2]: MessagePack of the
-- key prefix, the groups, the sources as [digest, text], and the epochs; empty when nothing is accounted. ARGV[3]: for each event
-- a head of HEAD_BYTES, followed by a record of RECORD_BYTES for each of its readings, in the order of the keys;
-- adapters/redis/claim_records.py packs both.
-- Returns one text: for each key '0' when it was free and is now claimed, or '1'; then, for each '1', the claim that was found; and
-- the keys that were unreadable; and the number of calls.
-- Needs Redis 6 or newer.
local live, any_live = {}, #ARGV[1] > 0
for at = 1, #ARGV[1], 4 do
  live[sub(ARGV[1], at, at + 3)] = true
end
local is_accounting = ARGV[2] ~= ''
if is_accounting then
  open_accounts(ARGV[2])
end

-- Whether a claim is unconfirmed and came from a hub that is gone: its winner can never be read again, so it must not block.
local function is_orphan(found)
  return any_live and byte(found, 1) == UNCONFIRMED and not live[sub(found, ORIGIN_FIRST, ORIGIN_FIRST + 3)]
end

-- Keeps a claim for `ttl` from now on. GT, which would make it one command, needs Redis 7.
local function prolong(key, ttl)
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, format('%.0f', ttl))
  end
end

local NEW = string.char(UNCONFIRMED)
local TTLS = lazy(function(ttl)
  return format('%.0f', ttl)
end)
local BITS_OF = lazy(function(mask)
  return struct.pack('>i4', mask)
end)

local call, records, flags, claims = redis.call, ARGV[3], {}, {}
local at, i = 1, 0
while at <= #records do
  local event, enqueued, ttl, confirmed_ttl, group, replica, count = decode('>c14c6ddHBH', records, at)
  local bit_of_replica = lshift(1, replica)
  at = at + HEAD_BYTES
  if is_accounting then
    open_event(event, enqueued, group, replica)
  end
  for _ = 1, count do
    local index, content, source, kind, sequence, time, epoch = decode('>c2c8HBddH', records, at)
    at, i = at + RECORD_BYTES, i + 1
    local key = KEYS[i]
    local found = redis.pcall('GET', key)
    local is_own, before, after = false, 0, bit_of_replica
    if found and #found ~= CLAIM_BYTES then
      forget(key)
      found = false
    end
    if found then
      is_own = sub(found, ORIGIN_FIRST, INDEX_FIRST - 1) == event and sub(found, INDEX_FIRST, ORIGIN_LAST) == index
      before = decode('>i4', found, REPLICAS_FIRST)
      after = bor(before, bit_of_replica)
    end
    if not found or is_orphan(found) then
      call('SET', key, NEW .. BITS_OF[after] .. event .. index .. enqueued .. content, 'PX', TTLS[ttl])
      flags[i] = '0'
    else
      if after ~= before then
        -- Another replica delivered the same reading: remember it in the claim, whose TTL stays.
        call('SET', key, sub(found, 1, REPLICAS_FIRST - 1) .. BITS_OF[after] .. sub(found, ORIGIN_FIRST), 'KEEPTTL')
      end
      local may_repeat = after == before and byte(found, 1) == CONFIRMED or byte(found, 1) == RESTORED
      if may_repeat and not is_own then
        -- The replica repeats what is published, and may do so for longer than the window. Who had delivered what was restored is
        -- not known, so that any copy of it may be a repetition.
        prolong(key, confirmed_ttl)
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
return {table.concat(flags) .. table.concat(claims), unreadable, calls}
