-- Claims keys for copies. Follows the constants, safe_calls.lua, marker_ready.lua and the three parts of the accounting;
-- core/claims.py has the layout of a claim, in which Lua counts bytes from 1.
-- KEYS: claim keys. ARGV[1]: the live hub incarnations, 4 bytes each; empty when they are not known. ARGV[2]: MessagePack of the
-- key prefix, the groups, the sources as [digest, text], and the epochs; empty when nothing is accounted. ARGV[3]: for each event
-- a head of HEAD_BYTES, followed for each of its readings, in the order of the keys, by the claim that it wants and, where copies
-- are accounted, by a record of RECORD_BYTES; adapters/redis/claim_records.py packs them.
-- Returns one text: for each key '0' when it was free and is now claimed, or '1'; then, for each '1', the claim that was found; and
-- the keys that were unreadable; and the number of calls.
-- Needs Redis 6 or newer.
local call, records, flags, claims = redis.call, ARGV[3], {}, {}
local live, any_live = {}, #ARGV[1] > 0
for at = 1, #ARGV[1], 4 do
  live[sub(ARGV[1], at, at + 3)] = true
end
local is_accounting = ARGV[2] ~= ''
local bytes_each = is_accounting and CLAIM_BYTES + RECORD_BYTES or CLAIM_BYTES
if is_accounting then
  open_accounts(ARGV[2])
end

term = term % TERMS  -- anybody may have written it
local FIRST = UNCONFIRMED + term * TERM_UNIT
local NEW = string.char(FIRST)

-- Whether a claim is unconfirmed and came from a hub that is gone, or from an earlier term: its winner may never be read again, so it
-- must not block.
local function is_orphan(found)
  local first = byte(found, 1)
  return first % TERM_UNIT == UNCONFIRMED
    and (first ~= FIRST or any_live and not live[sub(found, ORIGIN_FIRST, ORIGIN_FIRST + 3)])
end

-- The claim that begins at this place of the records.
local function wanted(at)
  if term == 0 then
    return sub(records, at, at + CLAIM_BYTES - 1)
  end
  return NEW .. sub(records, at + 1, at + CLAIM_BYTES - 1)
end

-- Keeps a claim for `ttl` from now on. GT, which would make it one command, needs Redis 7.
local function prolong(key, ttl)
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, format('%.0f', ttl))
  end
end

local TTLS = lazy(function(ttl)
  return format('%.0f', ttl)
end)
-- By replica: what its delivery makes of the replicas that a claim names, both as its four bytes.
local WITH = lazy(function(replica)
  return lazy(function(before)
    return struct.pack('>i4', bor(decode('>i4', before), lshift(1, replica)))
  end)
end)

-- One command reads all keys. What this call itself changes is read again where a key comes twice.
local stored, is_changed = KEYS[1] and call('MGET', unpack(KEYS)) or {}, {}

-- Claims a key that was free, unless it is held after all: by this call, or by something of another type.
local function take(key, claim, ttl)
  if call('SET', key, claim, 'PX', ttl, 'NX') then
    return false
  end
  return redis.pcall('GET', key)
end

local at, i, size = 1, 0, #records
while at <= size do
  local ttl, confirmed_ttl, group, replica, count = decode('>ddHBH', records, at)
  at = at + HEAD_BYTES
  local with, event = WITH[replica], sub(records, at + ORIGIN_FIRST - 1, at + INDEX_FIRST - 2)
  ttl = TTLS[ttl]
  if is_accounting then
    open_event(records, at, group, replica)
  end
  for _ = 1, count do
    i = i + 1
    local key = KEYS[i]
    local found, is_own, before, after = stored[i], false, nil, nil
    if not found then
      found = take(key, wanted(at), ttl)
    elseif is_changed[key] then
      found = call('GET', key)
    end
    if found and #found ~= CLAIM_BYTES then
      forget(key)
      is_changed[key] = true
      found = take(key, wanted(at), ttl)
    end
    if found then
      is_own = sub(found, ORIGIN_FIRST, INDEX_FIRST - 1) == event
        and sub(found, INDEX_FIRST, ORIGIN_LAST) == sub(records, at + INDEX_FIRST - 1, at + ORIGIN_LAST - 1)
      before = sub(found, REPLICAS_FIRST, ORIGIN_FIRST - 1)
      after = with[before]
    end
    if not found then
      flags[i] = '0'
    elseif is_orphan(found) then
      local rest = sub(records, at + ORIGIN_FIRST - 1, at + CLAIM_BYTES - 1)
      call('SET', key, NEW .. after .. rest, 'PX', ttl)
      is_changed[key] = true
      flags[i] = is_own and '1' or '0'
      if is_own then
        claims[#claims + 1] = found
      end
    else
      if after ~= before then
        -- Another replica delivered the same reading: remember it in the claim, whose TTL stays.
        call('SET', key, sub(found, 1, REPLICAS_FIRST - 1) .. after .. sub(found, ORIGIN_FIRST), 'KEEPTTL')
        is_changed[key] = true
      end
      local state = byte(found, 1)
      if not is_own and (after == before and state == CONFIRMED or state == RESTORED) then
        -- The replica repeats what is published, and may do so for longer than the window. Who had delivered what was restored is
        -- not known, so that any copy of it may be a repetition.
        prolong(key, confirmed_ttl)
      end
      flags[i] = '1'
      claims[#claims + 1] = found
    end
    if is_accounting and not is_own then
      account(records, at, found, before, after)
    end
    at = at + bytes_each
  end
end
if is_accounting then
  settle()
end
return {table.concat(flags) .. table.concat(claims), unreadable, calls}
