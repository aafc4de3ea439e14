-- Claims keys for copies. Follows the constants, safe_calls.lua, marker_ready.lua and the three parts of the accounting;
-- core/claims.py has the layout of a claim, in which Lua counts bytes from 1.
-- KEYS: claim keys. ARGV[1]: the live hub incarnations, 4 bytes each; empty when they are not known. ARGV[2]: MessagePack of the
-- key prefix, the groups, the sources as [digest, text], and the epochs; empty when nothing is accounted. ARGV[3]: for each event
-- a head of HEAD_BYTES or, where copies are accounted, ACCOUNTED_HEAD_BYTES, followed for each of its readings, in the order of the
-- keys, by the claim that it wants and, where copies are accounted, by a record of RECORD_BYTES; adapters/redis/claim_records.py packs them.
-- Returns one text: for each key '0' when it was free and is now claimed, or '1'; then, for each '1', the claim that was found; and
-- the keys that were unreadable; and the number of calls.
-- Needs Redis 6 or newer.
local call, flags, claims = redis.call, {}, {}
local live, any_live = {}, #ARGV[1] > 0
for at = 1, #ARGV[1], 4 do
  live[sub(ARGV[1], at, at + 3)] = true
end
local is_accounting = ARGV[2] ~= ''
local bytes_each, head, head_bytes = CLAIM_BYTES, '>ddHBH', HEAD_BYTES
if is_accounting then
  bytes_each, head, head_bytes = CLAIM_BYTES + RECORD_BYTES, '>ddHBHdd', ACCOUNTED_HEAD_BYTES
  open_accounts(ARGV[2])
end

term = term % TERMS  -- anybody may have written it
local FIRST = UNCONFIRMED + term * TERM_UNIT
local NEW = string.char(FIRST)

-- Whether a claim is unconfirmed and came from a hub that is gone, or from an earlier term: its winner may never be read again, so it
-- must not block.
local function is_orphan(found, first)
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
-- By replica: what its delivery makes of the state and the replicas with which a claim begins. `head` and `after`: both, and the
-- replicas alone, as they become; `is_new`: whether that adds a replica; `kind`: under which number such duplicates are summed up.
local WITH = lazy(function(replica)
  return lazy(function(head)
    local state, before = decode('>Bi4', head)
    local both = bor(before, lshift(1, replica))
    local after, is_new = struct.pack('>i4', both), both ~= before
    local kind = ((before * 32 + replica) * 2 + (is_new and 1 or 0)) * 2
    return {head = sub(head, 1, 1) .. after, after = after, is_new = is_new, state = state, kind = kind}
  end)
end)

-- One command reads all keys. What this call makes of them is held here, and written at its end, by few commands: each key belongs
-- to the list of those that are written in the same way.
local stored, held, list_of = KEYS[1] and call('MGET', unpack(KEYS)) or {}, {}, {}
local function by_ttl()
  return lazy(function()
    return {}
  end)
end
local claimed, reclaimed, delivered = by_ttl(), by_ttl(), {}

-- Writes the claims of a list of keys, with these options of SET.
local function write(keys, ...)
  if not set_all(keys, held, ...) then
    for _, key in ipairs(keys) do
      if not call('SET', key, held[key], ...) then
        -- Something of another type, which MGET does not show.
        forget(key)
        call('SET', key, held[key], ...)
      end
    end
  end
end

local function write_all()
  for key, list in pairs(list_of) do
    list[#list + 1] = key
  end
  for ttl, keys in pairs(claimed) do
    write(keys, 'PX', ttl, 'NX')
  end
  for ttl, keys in pairs(reclaimed) do
    write(keys, 'PX', ttl)
  end
  write(delivered, 'KEEPTTL')
end

local at, i, size = 1, 0, #records
while at <= size do
  local ttl, confirmed_ttl, group, replica, count, sequence_number, enqueued_ms = decode(head, records, at)
  at = at + head_bytes
  local with, event = WITH[replica], sub(records, at + ORIGIN_FIRST - 1, at + INDEX_FIRST - 2)
  ttl = TTLS[ttl]
  local free = claimed[ttl]
  if is_accounting then
    open_event(sub(event, 1, PARTITION_BYTES), group, replica, sequence_number, enqueued_ms)
  end
  for _ = 1, count do
    i = i + 1
    local key = KEYS[i]
    local found, is_own, change = held[key] or stored[i], false, nil
    if found and #found ~= CLAIM_BYTES then
      forget(key)
      found = false
    end
    if not found then
      held[key], list_of[key] = wanted(at), free
      flags[i] = '0'
    else
      is_own = sub(found, ORIGIN_FIRST, INDEX_FIRST - 1) == event
        and sub(found, INDEX_FIRST, ORIGIN_LAST) == sub(records, at + INDEX_FIRST - 1, at + ORIGIN_LAST - 1)
      change = with[sub(found, 1, ORIGIN_FIRST - 1)]
      local is_new = change.is_new
      if is_orphan(found, change.state) then
        held[key] = NEW .. change.after .. sub(records, at + ORIGIN_FIRST - 1, at + CLAIM_BYTES - 1)
        list_of[key] = reclaimed[ttl]
        flags[i] = is_own and '1' or '0'
        if is_own then
          claims[#claims + 1] = found
        end
      else
        if is_new then
          -- Another replica delivered the same reading: remember it in the claim, whose TTL stays.
          held[key] = change.head .. sub(found, ORIGIN_FIRST)
          list_of[key] = list_of[key] or delivered
        end
        if not is_own and (not is_new and change.state == CONFIRMED or change.state == RESTORED) then
          -- The replica repeats what is published, and may do so for longer than the window. Who had delivered what was restored is
          -- not known, so that any copy of it may be a repetition.
          prolong(key, confirmed_ttl)
        end
        flags[i] = '1'
        claims[#claims + 1] = found
      end
    end
    if is_accounting and not is_own then
      account(at, found, change)
    end
    at = at + bytes_each
  end
end
write_all()
if is_accounting then
  settle()
end
return {table.concat(flags) .. table.concat(claims), unreadable, calls}
