-- Redundancy accounting, first part: the tables of one call, and the hashes in Redis that its counts go to.
-- core/accounting.py says what is counted under which name. Every copy is counted exactly once, as part of the claim script:
-- counts are summed up here and written once, by `settle`. All keys are in the shard of the claims.
-- This runs for every copy: what can be looked up is not computed, and no key or name is built twice.
local byte, sub, format = string.byte, string.sub, string.format
local floor, abs, log, max = math.floor, math.abs, math.log, math.max
local decode = struct.unpack
local band, bor, lshift = bit.band, bit.bor, bit.lshift

local prefix, groups, sources, epochs, now, oldest_minute, oldest_hour
local hashes, accounts, accounted, histories, seen, recent, contents, indexes = {}, {}, {}, {}, {}, {}, {}, {}
-- The event whose copies are being counted.
local mark, sequence_number, enqueued_ms, group, replica, is_seen

local function open_accounts(header)
  prefix, groups, sources, epochs = unpack(cmsgpack.unpack(header))
  local time = redis.call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
  oldest_minute, oldest_hour = floor(now / MINUTE_MS) - KEEP_MINUTES, floor(now / HOUR_MS) - KEEP_HOURS
end

-- A table that computes a missing value at its first look-up.
local function lazy(make)
  return setmetatable({}, {
    __index = function(self, key)
      local value = make(key)
      self[key] = value
      return value
    end,
  })
end

local function numbered(letter)
  return lazy(function(n)
    return letter .. n
  end)
end

local FIRST, MATCHED, REPEATED, SOLE = numbered('f'), numbered('d'), numbered('s'), numbered('o')
local OF_FORGOTTEN = numbered('b')
local CONFLICTING, LATE_WINNERS, BY_REPLICAS = numbered('x'), numbered('l'), numbered('r')
local UNCHANGED, UNCHANGED_MATCHED, LAST_CONTENT = numbered('u'), numbered('v'), numbered('c')
local LAGS = lazy(function(replica)
  return numbered('h' .. replica .. ':')
end)
local OFFSETS = lazy(function(replica)
  return numbered('m' .. replica .. ':')
end)
local NAMES = lazy(tostring)

local LOG_RATIO = log(BUCKET_RATIO)
local BUCKETS = lazy(function(delta)
  if delta == 0 then
    return 0
  end
  local size = floor(log(abs(delta)) / LOG_RATIO) + 1
  return delta < 0 and -size or size
end)

local BITS = lazy(function(mask)
  local count, lowest = 0, nil
  for n = 0, MAX_REPLICAS - 1 do
    if band(mask, lshift(1, n)) ~= 0 then
      count, lowest = count + 1, lowest or n
    end
  end
  return {count, lowest}
end)

local function add(hash, field, n)
  hash[field] = (hash[field] or 0) + n
end

-- A time of six bytes. It takes a third of what struct.unpack would.
local function milliseconds(a, b, c, d, e, f)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local function is_number(value)
  return type(value) == 'number'
end

local function is_pair(value)
  return is_number(value[1]) and is_number(value[2])
end

-- The sequence number and index up to which a partition's copies have been counted.
local PARTITION_BYTES = 6  -- of an origin: incarnation and partition
local function mark_of(partition)
  local found = accounted[partition]
  if not found then
    local key = prefix .. ':accounted'
    found = unpacked(key, safe('HGET', key, partition), is_pair) or {-1, -1}
    accounted[partition] = found
  end
  return found
end

-- Begins with the copies of an event.
local function open_event(partition, ...)
  mark, is_seen = mark_of(partition), false
  group, replica, sequence_number, enqueued_ms = ...
end

local function hash_of(key)
  local hash = hashes[key]
  if not hash then
    hash = {}
    hashes[key] = hash
  end
  return hash
end

-- Two indexes of one content: by time, for trimming, and by name, for reading page by page. Takes what is older out of both, some of it
-- at a time, since a script that removes 10,000 at once blocks everybody. Returns how many it took out.
local TRIMMED_AT_ONCE = 100
local function trim(by_time, by_name, oldest)
  local old = safe('ZRANGEBYSCORE', by_time, '-inf', format('%.0f', oldest), 'LIMIT', 0, TRIMMED_AT_ONCE)
  if #old > 0 then
    redis.call('ZREM', by_time, unpack(old))
    safe('ZREM', by_name, unpack(old))
  end
  return #old
end

-- The sources of a group that are counted each by itself, and how many more of them there may be.
local function index_of(of_group)
  local index = indexes[of_group]
  if not index then
    local name = groups[of_group]
    index = {by_time = prefix .. ':sources:' .. name, by_name = prefix .. ':named:' .. name}
    indexes[of_group] = index
  end
  return index
end

local function has_room(index)
  if not index.room then
    trim(index.by_time, index.by_name, now - SOURCE_SECONDS * 1000)
    index.room = SOURCES_PER_SHARD - safe('ZCARD', index.by_time)
  end
  index.room = index.room - 1
  return index.room >= 0
end

-- Whether a source is counted by itself. Those beyond the limit are counted together: a sender that makes up names must not fill the
-- memory.
local function is_listed(source)
  local entry = sources[source]
  if entry.is_listed == nil then
    local index = index_of(group)
    entry.group, entry.last = group, safe('ZSCORE', index.by_time, entry[2])
    entry.is_listed = (entry.last or has_room(index)) and true or false
  end
  return entry.is_listed
end

-- Where copies of one source are counted whose winners came in the minute that begins at `minute_ms`. Until the end of the call they
-- are summed up by kind; then they go to the hashes of the group's minute and hour, and of the source's hour. A hash is left out when it is too old.
local function accounts_of(source, minute_ms)
  local by_minute = accounts[source]
  if not by_minute then
    by_minute = {}
    accounts[source] = by_minute
  end
  local found = by_minute[minute_ms]
  if not found then
    local minute, hour, name = minute_ms / MINUTE_MS, floor(minute_ms / HOUR_MS), groups[group]
    found = {of_group = {}, lags = {}, winners = {}, duplicates = {}, of_forgotten = {}, opened = 0, filled = 0}
    found.is_listed = is_listed(source)
    if minute > oldest_minute then
      table.insert(found.of_group, hash_of(format('%s:minute:%s:%.0f', prefix, name, minute)))
    end
    if hour > oldest_hour then
      table.insert(found.of_group, hash_of(format('%s:hour:%s:%.0f', prefix, name, hour)))
      found.source_key = found.is_listed and format('%s:source:%s:%.0f', prefix, sources[source][1], hour)
        or format('%s:beyond:%s:%.0f', prefix, name, hour)
      found.of_source = hash_of(found.source_key)
    end
    by_minute[minute_ms] = found
  end
  return found
end
