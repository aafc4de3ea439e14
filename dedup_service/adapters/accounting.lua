-- Redundancy accounting, exactly once: part of the claim script, see core/accounting.py for what is counted under which name.
-- Counts are summed up here and written once, by `settle`. All keys have the shard of the claims.
local BUCKET_RATIO = math.log(1.07)
local MINUTE_MS, HOUR_MS = 60000, 3600000
local KEEP_MINUTES, KEEP_HOURS = 70, 26
local MAX_GAPS, MAX_EPOCHS, MAX_SOURCES = 64, 3, 10000
local GAPS_SECONDS = 691200

local prefix, groups, sources, now
local sums, accounted, histories, seen = {}, {}, {}, {}

local function open_accounts(header)
  prefix, groups, sources = unpack(cmsgpack.unpack(header))
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function add(key, field, n)
  local fields = sums[key]
  if not fields then
    fields = {}
    sums[key] = fields
  end
  fields[field] = (fields[field] or 0) + n
end

local function count_bits(mask)
  local count = 0
  while mask ~= 0 do
    mask = bit.band(mask, mask - 1)
    count = count + 1
  end
  return count
end

local function lowest_bit(mask)
  local n = 0
  while bit.band(mask, bit.lshift(1, n)) == 0 do
    n = n + 1
  end
  return n
end

local function bucket(delta)
  if delta == 0 then
    return 0
  end
  local size = math.floor(math.log(math.abs(delta)) / BUCKET_RATIO) + 1
  return delta < 0 and -size or size
end

local function enqueued_ms(claim)
  local high, low = struct.unpack('>I2I4', claim, 22)
  return high * 4294967296 + low
end

-- Whether this copy has been counted before: its partition is accounted up to a sequence number and index.
local function is_accounted(claim)
  local partition = string.sub(claim, 6, 11)
  local high, low, index = struct.unpack('>I4I4I2', claim, 12)
  local sequence = high * 4294967296 + low
  local mark = accounted[partition]
  if not mark then
    local stored = redis.call('HGET', prefix .. ':accounted', partition)
    mark = stored and cmsgpack.unpack(stored) or {-1, -1}
    accounted[partition] = mark
  end
  if sequence < mark[1] or (sequence == mark[1] and index <= mark[2]) then
    return true
  end
  mark[1], mark[2], mark.is_new = sequence, index, true
  return false
end

-- Under which keys a copy is counted: those of its winner's time.
local function accounts_of(copy, winner_ms)
  local keys, group = {}, groups[copy.group]
  local minute, hour = math.floor(winner_ms / MINUTE_MS), math.floor(winner_ms / HOUR_MS)
  if minute > math.floor(now / MINUTE_MS) - KEEP_MINUTES then
    keys[1] = string.format('%s:minute:%s:%.0f', prefix, group, minute)
  end
  if hour > math.floor(now / HOUR_MS) - KEEP_HOURS then
    keys[#keys + 1] = string.format('%s:hour:%s:%.0f', prefix, group, hour)
    return keys, string.format('%s:source:%s:%.0f', prefix, sources[copy.source][1], hour)
  end
  return keys, nil
end

-- A source's sequence: numbers that were passed over are gaps until somebody delivers them after all.
local function history_of(source)
  local history = histories[source]
  if not history then
    local stored = redis.call('GET', prefix .. ':gaps:' .. sources[source][1])
    history = {epochs = stored and cmsgpack.unpack(stored) or {}}
    histories[source] = history
  end
  return history
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

-- Returns how many numbers are missing more, and how many of the missing ones were found.
local function follow(copy)
  local history = history_of(copy.source)
  history.group, history.is_new = copy.group, true
  local number = copy.sequence
  for _, epoch in ipairs(history.epochs) do
    if epoch[1] == copy.epoch then
      local first, gaps = epoch[2], epoch[3]
      if number < first then
        return 0, fill(gaps, number)
      end
      epoch[2] = number + 1
      if number > first then
        gaps[#gaps + 1] = {first, number - 1, now}
        if #gaps > MAX_GAPS then
          local oldest = table.remove(gaps, 1)
          epoch[4] = epoch[4] + oldest[2] - oldest[1] + 1
        end
      end
      return number - first, 0
    end
  end
  table.insert(history.epochs, 1, {copy.epoch, number + 1, {}, 0})
  history.epochs[MAX_EPOCHS + 1] = nil
  return 0, 0
end

-- How near in time the other replicas' newest readings of this source are: for sources whose copies never match.
local function measure_distance(copy, account)
  local times = redis.call('HGET', account, 't')
  times = times and cmsgpack.unpack(times) or {}
  local nearest
  for replica, at in pairs(times) do
    local distance = math.abs(copy.time - at)
    if tonumber(replica) ~= copy.replica and (not nearest or distance < nearest) then
      nearest = distance
    end
  end
  if nearest then
    add(account, 'n:' .. bucket(nearest), 1)
  end
  times[tostring(copy.replica)] = copy.time
  redis.call('HSET', account, 't', cmsgpack.pack(times))
end

local function count_winner(copy, claim)
  local keys, account = accounts_of(copy, enqueued_ms(claim))
  local opened, filled = 0, 0
  if copy.sequence then
    opened, filled = follow(copy)
  end
  if account and copy.time then
    measure_distance(copy, account)
  end
  keys[#keys + 1] = account
  for _, key in ipairs(keys) do
    add(key, 'f' .. copy.replica, 1)
    add(key, 'o' .. copy.replica, 1)
    add(key, 'r1', 1)
    if copy.late then
      add(key, 'l' .. copy.replica, 1)
    end
    if opened > 0 then
      add(key, 'g+', opened)
    end
    if filled > 0 then
      add(key, 'g-', filled)
    end
  end
end

local function count_duplicate(copy, claim, found, before, after)
  local winner_ms = enqueued_ms(found)
  local keys, account = accounts_of(copy, winner_ms)
  local lag = 'h' .. copy.replica .. ':' .. bucket(enqueued_ms(claim) - winner_ms)
  for _, key in ipairs(keys) do
    add(key, lag, 1)
  end
  keys[#keys + 1] = account
  local is_match, replicas = before ~= after, count_bits(before)
  local is_conflict = string.sub(found, 28) ~= string.sub(claim, 28)
  for _, key in ipairs(keys) do
    add(key, (is_match and 'd' or 's') .. copy.replica, 1)
    if is_match then
      add(key, 'r' .. replicas, -1)
      add(key, 'r' .. (replicas + 1), 1)
      if replicas == 1 then
        add(key, 'o' .. lowest_bit(before), -1)
      end
    end
    if is_conflict then
      add(key, 'x' .. copy.replica, 1)
    end
  end
end

-- `found`: the claim that another origin holds, with the replicas before and after this copy; nil for a winner.
local function account(copy, claim, found, before, after)
  if is_accounted(claim) then
    return
  end
  local shown = seen[copy.group] or {}
  seen[copy.group] = shown
  shown[copy.replica] = math.max(shown[copy.replica] or 0, enqueued_ms(claim))
  sources[copy.source].group = copy.group
  if found then
    count_duplicate(copy, claim, found, before, after)
  else
    count_winner(copy, claim)
  end
end

local function settle_sources()
  for _, source in ipairs(sources) do
    if source.group then
      local index = prefix .. ':sources:' .. groups[source.group]
      if redis.call('ZSCORE', index, source[2]) or redis.call('ZCARD', index) < MAX_SOURCES then
        redis.call('ZADD', index, now, source[2])
      end
    end
  end
end

local function settle_histories()
  for source, history in pairs(histories) do
    if history.is_new then
      local is_gapped = false
      for _, epoch in ipairs(history.epochs) do
        is_gapped = is_gapped or #epoch[3] > 0 or epoch[4] > 0
      end
      local digest, text = sources[source][1], sources[source][2]
      redis.call('SET', prefix .. ':gaps:' .. digest, cmsgpack.pack(history.epochs), 'EX', GAPS_SECONDS)
      local index = prefix .. ':gapped:' .. groups[history.group]
      if is_gapped then
        redis.call('ZADD', index, now, text)
      else
        redis.call('ZREM', index, text)
      end
    end
  end
end

local function settle()
  for key, fields in pairs(sums) do
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
      redis.call('HSET', key, replica, cmsgpack.pack({math.max(last, enqueued), now}))
    end
  end
  settle_sources()
  settle_histories()
end
