-- Redundancy accounting, third part: what each copy adds to the counts, and writing them. Follows accounting_gaps.lua.
local MAX_TIMES, SEEN_MS = 128, 1000
local records = ARGV[3]
local NO_CONTENT = string.rep('\0', CLAIM_BYTES - CONTENT_FIRST + 1)

-- By replica, the times of its last winners of a source within an hour, and short hashes of their contents.
local function are_recent(by_replica)
  for _, own in pairs(by_replica) do
    if type(own) ~= 'table' or type(own[1]) ~= 'table' or type(own[2]) ~= 'table' then
      return false
    end
    for place, at in pairs(own[1]) do
      if not (is_number(place) and is_number(at)) then
        return false
      end
    end
  end
  return true
end

-- All replicas' and the present one's.
local function recent_of(found)
  local by_replica = recent[found.source_key]
  if not by_replica then
    by_replica = unpacked(found.source_key, safe('HGET', found.source_key, 't'), are_recent) or {}
    recent[found.source_key] = by_replica
  end
  local own = by_replica[NAMES[replica]]
  if not own then
    own = {{}, {}}
    by_replica[NAMES[replica]] = own
  end
  return by_replica, own
end

-- Whether the present copy has the content of the replica's last one of this source.
local function is_unchanged(found, content)
  local of_source = found.contents
  if not of_source then
    of_source = contents[found.source_key] or {}
    found.contents, contents[found.source_key] = of_source, of_source
  end
  local last = of_source[replica]
  if not last then
    local stored = safe('HGET', found.source_key, LAST_CONTENT[replica])
    of_source[replica] = {content, stored}
    return stored == content
  end
  local before = last[1]
  last[1] = content
  return before == content
end

-- Of two that are equally near, the positive one counts as nearer.
local function is_nearer(offset, than)
  return abs(offset) < abs(than) or (offset == -than and offset > 0)
end

-- Measures the distance in time to the nearest recent reading of another replica, for sources whose copies never match, and to the
-- nearest one of the same content. Recent ones are the last that were processed, since one replica's backlog may come as a whole
-- before another's.
local function measure_distance(time, content, found)
  local by_replica, own = recent_of(found)
  local short, nearest, offset = byte(content, 1) * 256 + byte(content, 2), nil, nil
  for _, other in pairs(by_replica) do
    if other ~= own then
      local shorts = other[2]
      for place, at in ipairs(other[1]) do
        local distance = abs(time - at)
        if not nearest or distance < nearest then
          nearest = distance
        end
        if shorts[place] == short and (not offset or is_nearer(time - at, offset)) then
          offset = time - at
        end
      end
    end
  end
  if nearest then
    add(found.of_source, 'n:' .. BUCKETS[nearest], 1)
  end
  if offset then
    add(found.of_source, OFFSETS[replica][BUCKETS[offset]], 1)
  end
  local times, shorts = own[1], own[2]
  times[#times + 1], shorts[#shorts + 1] = time, short
  if #times > MAX_TIMES then
    table.remove(times, 1)
    table.remove(shorts, 1)
  end
end

local function count_sequence(found, source, flags, sequence, epoch)
  if found.is_listed and band(flags, COUNTED) ~= 0 then
    local opened, filled = follow(source, sequence, epochs[epoch])
    found.opened, found.filled = found.opened + opened, found.filled + filled
  end
end

local function count_winner(found, source, content, flags, record)
  local sequence, time, epoch = decode('>ddH', records, record)
  count_sequence(found, source, flags, sequence, epoch)
  if found.of_source and found.is_listed then
    if is_unchanged(found, content) then
      add(found.of_source, UNCHANGED[replica], 1)
    end
    if band(flags, TIMED) ~= 0 then
      measure_distance(time, content, found)
    end
  end
  add(found.winners, replica * 2 + band(flags, LATE), 1)
end

-- `change`: what this copy makes of the replicas that had delivered the reading. A repetition says nothing of how far copies are
-- apart. Two copies of three come here, so that they spare the calls of `add`.
local function count_duplicate(found, lag, change, is_conflict)
  local kind, duplicates = is_conflict and change.kind + 1 or change.kind, found.duplicates
  duplicates[kind] = (duplicates[kind] or 0) + 1
  if change.is_new then
    local distance, lags = BUCKETS[lag] * 32 + replica, found.lags
    lags[distance] = (lags[distance] or 0) + 1
  end
end

-- The winner's count may be forgotten, and it is not known whether the replica had delivered the reading before: this copy says
-- nothing but that it came. Its number was delivered, which may be forgotten, too.
local function count_of_forgotten(found, source, flags, record, is_conflict)
  local sequence, _, epoch = decode('>ddH', records, record)
  count_sequence(found, source, flags, sequence, epoch)
  add(found.of_forgotten, replica * 2 + (is_conflict and 1 or 0), 1)
end

local function settle_of_forgotten(found, hash)
  for kind, n in pairs(found.of_forgotten) do
    local replica = floor(kind / 2)
    add(hash, OF_FORGOTTEN[replica], n)
    if kind % 2 == 1 then
      add(hash, CONFLICTING[replica], n)
    end
  end
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
    settle_of_forgotten(found, hash)
  end
  if found.of_source then
    settle_winners(found, found.of_source)
    settle_duplicates(found, found.of_source)
    settle_of_forgotten(found, found.of_source)
  end
end

local function see()
  local replicas = seen[group]
  if not replicas then
    replicas = {}
    seen[group] = replicas
  end
  local last = replicas[replica]
  if not last or enqueued_ms > last then
    replicas[replica] = enqueued_ms
  end
  is_seen = true
end

-- Counts one copy of the opened event, whose claim and record begin at `at`, unless it was counted before. `winner`: the claim that
-- another origin holds, or false when this copy wins; `change`: what this copy makes of the winner's state and replicas.
local function account(at, winner, change)
  local high, low = byte(records, at + INDEX_FIRST - 1, at + ORIGIN_LAST - 1)
  local place = high * 256 + low
  if sequence_number < mark[1] or (sequence_number == mark[1] and place <= mark[2]) then
    return
  end
  mark[1], mark[2], mark.is_new = sequence_number, place, true
  local record = at + CLAIM_BYTES
  local source_high, source_low, flags = byte(records, record, record + 2)
  local source, content = source_high * 256 + source_low, sub(records, at + CONTENT_FIRST - 1, record - 1)
  record = record + 3
  if not is_seen then
    see()
  end
  if not winner then
    count_winner(accounts_of(source, enqueued_ms - enqueued_ms % MINUTE_MS), source, content, flags, record)
    return
  end
  local won_at, expected = milliseconds(byte(winner, ENQUEUED_FIRST, CONTENT_FIRST - 1)), sub(winner, CONTENT_FIRST)
  local is_new, is_of_forgotten = change.is_new, change.state == RESTORED
  local is_conflict = expected ~= content and expected ~= NO_CONTENT
  -- The winner of a repetition may be of so long ago that its counts are no longer kept.
  local at_ms = (is_of_forgotten or not is_new) and enqueued_ms or won_at
  local found = accounts_of(source, at_ms - at_ms % MINUTE_MS)
  if is_of_forgotten and is_new then
    count_of_forgotten(found, source, flags, record, is_conflict)
    return
  end
  count_duplicate(found, enqueued_ms - won_at, change, is_conflict)
  if is_new and found.of_source and found.is_listed and is_unchanged(found, content) then
    add(found.of_source, UNCHANGED_MATCHED[replica], 1)
  end
end

-- The time at which a source was last processed is kept to the second, since a plant has thousands of sources and each call
-- brings another thousand. Its name is written once a minute: a pod of an earlier version keeps no names.
local function settle_sources()
  for _, source in ipairs(sources) do
    if source.is_listed then
      local index, last = index_of(source.group), source.last
      if not (last and abs(now - last) < SEEN_MS) then
        redis.call('ZADD', index.by_time, now, source[2])
      end
      if not last or floor(last / MINUTE_MS) ~= floor(now / MINUTE_MS) then
        safe('ZADD', index.by_name, 0, source[2])
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
  for key, of_source in pairs(contents) do
    for replica, last in pairs(of_source) do
      if last[1] ~= last[2] then
        redis.call('HSET', key, LAST_CONTENT[replica], last[1])
      end
    end
  end
  for key, by_replica in pairs(recent) do
    safe('HSET', key, 't', cmsgpack.pack(by_replica))
  end
  for key, fields in pairs(hashes) do
    for field, n in pairs(fields) do
      if n ~= 0 then
        safe('HINCRBY', key, field, n)
      end
    end
    local is_minute = string.find(key, ':minute:', 1, true)
    redis.call('EXPIRE', key, is_minute and KEEP_MINUTES * 60 or KEEP_HOURS * 3600)
  end
  for partition, mark in pairs(accounted) do
    if mark.is_new then
      safe('HSET', prefix .. ':accounted', partition, cmsgpack.pack({mark[1], mark[2]}))
    end
  end
  for group, replicas in pairs(seen) do
    local key = prefix .. ':seen:' .. groups[group]
    for replica, enqueued in pairs(replicas) do
      local last = unpacked(key, safe('HGET', key, replica), is_pair) or {0}
      redis.call('HSET', key, replica, cmsgpack.pack({max(last[1], enqueued), now}))
    end
  end
  settle_sources()
  settle_histories()
end
