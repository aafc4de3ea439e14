-- Redundancy accounting, exactly once: part of the claim script, see core/accounting.py for what is counted under which name.
-- Counts are summed up here and written once, by `settle`. All keys have the shard of the claims.
-- This runs for every copy: what can be looked up is not computed, and no key or name is built twice.
local byte, sub, format = string.byte, string.sub, string.format
local floor, abs, log, max = math.floor, math.abs, math.log, math.max
local decode = struct.unpack
local band, bor, lshift = bit.band, bit.bor, bit.lshift

local BUCKET_RATIO = log(1.07)
local MINUTE_MS, HOUR_MS = 60000, 3600000
local KEEP_MINUTES, KEEP_HOURS = 70, 26
local MAX_GAPS, MAX_EPOCHS, MAX_SOURCES, MAX_TIMES = 64, 3, 10000, 128
local GAPS_SECONDS, MAX_BACK, MAX_JUMP = 691200, 1000, 1000000
local SEEN_MS = 1000
local LATE, COUNTED, TIMED = 1, 2, 4

local prefix, groups, sources, epochs, now, oldest_minute, oldest_hour
local hashes, accounts, accounted, histories, seen, timed = {}, {}, {}, {}, {}, {}
-- Of the event whose copies are being counted.
local mark, sequence_number, enqueued_ms, group, replica, is_seen

local function open_accounts(header)
  prefix, groups, sources, epochs = unpack(cmsgpack.unpack(header))
  local time = redis.call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
  oldest_minute, oldest_hour = floor(now / MINUTE_MS) - KEEP_MINUTES, floor(now / HOUR_MS) - KEEP_HOURS
end

-- A table that makes what is missing in it, once.
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
local CONFLICTING, LATE_WINNERS, BY_REPLICAS = numbered('x'), numbered('l'), numbered('r')
local LAGS = lazy(function(replica)
  return numbered('h' .. replica .. ':')
end)

local BUCKETS = lazy(function(delta)
  if delta == 0 then
    return 0
  end
  local size = floor(log(abs(delta)) / BUCKET_RATIO) + 1
  return delta < 0 and -size or size
end)

local BITS = lazy(function(mask)
  local count, lowest = 0, nil
  for n = 0, 31 do
    if band(mask, lshift(1, n)) ~= 0 then
      count, lowest = count + 1, lowest or n
    end
  end
  return {count, lowest}
end)

local function add(hash, field, n)
  hash[field] = (hash[field] or 0) + n
end

-- Six bytes, from `at` on.
local function milliseconds(text, at)
  local high, low = decode('>I2I4', text, at)
  return high * 4294967296 + low
end

-- Up to which sequence number and index a partition's copies have been counted.
local function mark_of(partition)
  local found = accounted[partition]
  if not found then
    local stored = redis.call('HGET', prefix .. ':accounted', partition)
    found = stored and cmsgpack.unpack(stored) or {-1, -1}
    accounted[partition] = found
  end
  return found
end

-- The event whose copies come next. `event`: its origins' first 14 bytes; `enqueued`: six bytes.
local function open_event(event, enqueued, of_group, of_replica)
  local high, low = decode('>I4I4', event, 7)
  mark, sequence_number = mark_of(sub(event, 1, 6)), high * 4294967296 + low
  enqueued_ms, group, replica = milliseconds(enqueued, 1), of_group, of_replica
  is_seen = false
end

-- Whether this copy has been counted before; from now on it has.
local function is_accounted(index)
  local place = byte(index, 1) * 256 + byte(index, 2)
  if sequence_number < mark[1] or (sequence_number == mark[1] and place <= mark[2]) then
    return true
  end
  mark[1], mark[2], mark.is_new = sequence_number, place, true
  return false
end

local function hash_of(key)
  local hash = hashes[key]
  if not hash then
    hash = {}
    hashes[key] = hash
  end
  return hash
end

-- What copies of one source and winner's minute are counted in: until the end of the call by what tells them apart, then in the
-- group's minute and hour, and the source's hour. Each of those may be missing, where it is too long ago.
local function accounts_of(source, minute)
  local by_minute = accounts[source]
  if not by_minute then
    by_minute = {}
    accounts[source] = by_minute
    sources[source].group = group
  end
  local found = by_minute[minute]
  if not found then
    local hour, name = floor(minute / 60), groups[group]
    found = {of_group = {}, lags = {}, winners = {}, duplicates = {}, opened = 0, filled = 0}
    if minute > oldest_minute then
      table.insert(found.of_group, hash_of(format('%s:minute:%s:%.0f', prefix, name, minute)))
    end
    if hour > oldest_hour then
      table.insert(found.of_group, hash_of(format('%s:hour:%s:%.0f', prefix, name, hour)))
      found.source_key = format('%s:source:%s:%.0f', prefix, sources[source][1], hour)
      found.of_source = hash_of(found.source_key)
    end
    by_minute[minute] = found
  end
  return found
end

local function is_gapped(epochs)
  for _, epoch in ipairs(epochs) do
    if #epoch[3] > 0 or epoch[4] > 0 then
      return true
    end
  end
  return false
end

-- A source's sequence: numbers that were passed over are gaps until somebody delivers them after all.
local function history_of(source)
  local history = histories[source]
  if not history then
    local stored = redis.call('GET', prefix .. ':gaps:' .. sources[source][1])
    history = {epochs = stored and cmsgpack.unpack(stored) or {}}
    history.was_gapped = is_gapped(history.epochs)
    histories[source] = history
  end
  return history
end

-- Too many gaps to keep them one by one: the oldest is only counted from now on.
local function forget_oldest(epoch)
  if #epoch[3] > MAX_GAPS then
    local oldest = table.remove(epoch[3], 1)
    epoch[4] = epoch[4] + oldest[2] - oldest[1] + 1
  end
end

local function fill(gaps, number)
  for i, gap in ipairs(gaps) do
    if number >= gap[1] and number <= gap[2] then
      table.remove(gaps, i)
      if number < gap[2] then
        table.insert(gaps, i, {number + 1, gap[2], gap[3]})
      end
      if number > gap[1] then
        table.insert(gaps, i, {gap[1], number - 1, gap[3]})
      end
      return 1
    end
  end
  return 0
end

-- The first number that is processed need not be the lowest: partitions are not read in step. Returns how many numbers are
-- missing more. Without an epoch a low number rather means that the source has started over.
local function extend_back(epoch, number)
  local start, gaps = epoch[5], epoch[3]
  if epoch[1] == '' or number >= start or start - number > MAX_BACK then
    return 0
  end
  epoch[5] = number
  if start - number > 1 then
    table.insert(gaps, 1, {number + 1, start - 1, now})
    forget_oldest(epoch)
  end
  return start - number - 1
end

-- Returns how many numbers are missing more, and how many of the missing ones were found. A jump by a million is no gap: rather
-- a counter that was set, or a broken value.
local function follow(source, number, name)
  local history = history_of(source)
  history.group, history.is_new = group, true
  for _, epoch in ipairs(history.epochs) do
    if epoch[1] == name then
      local first, gaps = epoch[2], epoch[3]
      if number < first then
        local filled = fill(gaps, number)
        return filled == 0 and extend_back(epoch, number) or 0, filled
      end
      epoch[2] = number + 1
      if number - first > MAX_JUMP then
        epoch[5] = number
        return 0, 0
      end
      if number > first then
        gaps[#gaps + 1] = {first, number - 1, now}
        forget_oldest(epoch)
      end
      return number - first, 0
    end
  end
  table.insert(history.epochs, 1, {name, number + 1, {}, 0, number})
  history.epochs[MAX_EPOCHS + 1] = nil
  return 0, 0
end

-- How near in time the nearest recent reading of another replica is: for sources whose copies never match. Recent means the
-- last ones that were processed, since one replica's backlog comes as a whole before another's.
local function measure_distance(time, found)
  local times = timed[found.source_key]
  if not times then
    local stored = redis.call('HGET', found.source_key, 't')
    times = stored and cmsgpack.unpack(stored) or {}
    timed[found.source_key] = times
  end
  local own, nearest = tostring(replica), nil
  for other, recent in pairs(times) do
    if other ~= own then
      for _, at in ipairs(recent) do
        local distance = abs(time - at)
        if not nearest or distance < nearest then
          nearest = distance
        end
      end
    end
  end
  if nearest then
    add(found.of_source, 'n:' .. BUCKETS[nearest], 1)
  end
  local mine = times[own] or {}
  mine[#mine + 1] = time
  if #mine > MAX_TIMES then
    table.remove(mine, 1)
  end
  times[own] = mine
end

local function count_winner(found, source, flags, sequence, time, epoch)
  if band(flags, COUNTED) ~= 0 then
    local opened, filled = follow(source, sequence, epochs[epoch])
    found.opened, found.filled = found.opened + opened, found.filled + filled
  end
  if found.of_source and band(flags, TIMED) ~= 0 then
    measure_distance(time, found)
  end
  add(found.winners, replica * 2 + band(flags, LATE), 1)
end

-- `before` and `after`: the replicas that had delivered the reading.
local function count_duplicate(found, lag, before, after, is_conflict)
  add(found.lags, BUCKETS[lag] * 32 + replica, 1)
  add(found.duplicates, ((before * 32 + replica) * 2 + (before ~= after and 1 or 0)) * 2 + (is_conflict and 1 or 0), 1)
end

local function settle_winners(found, hash)
  for kind, n in pairs(found.winners) do
    local replica = floor(kind / 2)
    add(hash, FIRST[replica], n)
    add(hash, SOLE[replica], n)
    add(hash, 'r1', n)
    if kind % 2 == LATE then
      add(hash, LATE_WINNERS[replica], n)
    end
  end
  add(hash, 'g+', found.opened)
  add(hash, 'g-', found.filled)
end

local function settle_duplicates(found, hash)
  for kind, n in pairs(found.duplicates) do
    local is_conflict, is_match, rest = kind % 2 == 1, floor(kind / 2) % 2 == 1, floor(kind / 4)
    local replica, before = rest % 32, BITS[floor(rest / 32)]
    local replicas, lowest = before[1], before[2]
    if is_match then
      add(hash, MATCHED[replica], n)
      add(hash, BY_REPLICAS[replicas], -n)
      add(hash, BY_REPLICAS[replicas + 1], n)
      if replicas == 1 then
        add(hash, SOLE[lowest], -n)
      end
    else
      add(hash, REPEATED[replica], n)
    end
    if is_conflict then
      add(hash, CONFLICTING[replica], n)
    end
  end
end

local function settle_counts(found)
  for _, hash in ipairs(found.of_group) do
    for kind, n in pairs(found.lags) do
      add(hash, LAGS[kind % 32][floor(kind / 32)], n)
    end
    settle_winners(found, hash)
    settle_duplicates(found, hash)
  end
  if found.of_source then
    settle_winners(found, found.of_source)
    settle_duplicates(found, found.of_source)
  end
end

local function see()
  local replicas = seen[group]
  if not replicas then
    replicas = {}
    seen[group] = replicas
  end
  replicas[replica] = max(replicas[replica] or 0, enqueued_ms)
  is_seen = true
end

-- One copy of the opened event. `winner`: the claim that another origin holds, with its replicas before and after this copy;
-- none: this one wins.
local function account(index, content, source, flags, sequence, time, epoch, winner, before, after)
  if is_accounted(index) then
    return
  end
  if not is_seen then
    see()
  end
  if not winner then
    count_winner(accounts_of(source, floor(enqueued_ms / MINUTE_MS)), source, flags, sequence, time, epoch)
  else
    local won_at = milliseconds(winner, 22)
    local found = accounts_of(source, floor(won_at / MINUTE_MS))
    count_duplicate(found, enqueued_ms - won_at, before, after, sub(winner, 28) ~= content)
  end
end

-- When a source was last processed is kept to the second: plants have thousands, and each call brings another thousand.
local function settle_sources()
  for _, source in ipairs(sources) do
    if source.group then
      local index = prefix .. ':sources:' .. groups[source.group]
      local last = redis.call('ZSCORE', index, source[2])
      source.is_known = last or redis.call('ZCARD', index) < MAX_SOURCES
      if source.is_known and not (last and abs(now - last) < SEEN_MS) then
        redis.call('ZADD', index, now, source[2])
      end
    end
  end
end

local function settle_histories()
  local pruned = {}
  for source, history in pairs(histories) do
    if history.is_new and sources[source].is_known then
      local digest, text = sources[source][1], sources[source][2]
      redis.call('SET', prefix .. ':gaps:' .. digest, cmsgpack.pack(history.epochs), 'EX', GAPS_SECONDS)
      local index = prefix .. ':gapped:' .. groups[history.group]
      if not pruned[index] then
        redis.call('ZREMRANGEBYSCORE', index, '-inf', now - GAPS_SECONDS * 1000)
        pruned[index] = true
      end
      if is_gapped(history.epochs) then
        redis.call('ZADD', index, now, text)
      elseif history.was_gapped then
        redis.call('ZREM', index, text)
      end
    end
  end
end

local function settle()
  for _, by_minute in pairs(accounts) do
    for _, found in pairs(by_minute) do
      settle_counts(found)
    end
  end
  for key, times in pairs(timed) do
    redis.call('HSET', key, 't', cmsgpack.pack(times))
  end
  for key, fields in pairs(hashes) do
    for field, n in pairs(fields) do
      if n ~= 0 then
        redis.call('HINCRBY', key, field, n)
      end
    end
    local is_minute = string.find(key, ':minute:', 1, true)
    redis.call('EXPIRE', key, is_minute and KEEP_MINUTES * 60 or KEEP_HOURS * 3600)
  end
  for partition, mark in pairs(accounted) do
    if mark.is_new then
      redis.call('HSET', prefix .. ':accounted', partition, cmsgpack.pack({mark[1], mark[2]}))
    end
  end
  for group, replicas in pairs(seen) do
    local key = prefix .. ':seen:' .. groups[group]
    for replica, enqueued in pairs(replicas) do
      local stored = redis.call('HGET', key, replica)
      local last = stored and cmsgpack.unpack(stored)[1] or 0
      redis.call('HSET', key, replica, cmsgpack.pack({max(last, enqueued), now}))
    end
  end
  settle_sources()
  settle_histories()
end
