-- Redundancy accounting, second part: a source's sequence numbers. Numbers that were passed over are gaps until a copy delivers
-- them after all. Follows accounting_tables.lua.
local MAX_GAPS, MAX_EPOCHS, MAX_BACK, MAX_JUMP = 64, 3, 1000, 1000000
local GAPS_SECONDS = 691200

local function is_gapped(epochs)
  for _, epoch in ipairs(epochs) do
    if #epoch[3] > 0 or epoch[4] > 0 then
      return true
    end
  end
  return false
end

local function is_gap(value)
  return type(value) == 'table' and is_pair(value) and is_number(value[3])
end

local function is_history(epochs)
  for _, epoch in ipairs(epochs) do
    if type(epoch) ~= 'table' or type(epoch[1]) ~= 'string' or type(epoch[3]) ~= 'table' then
      return false
    end
    if not (is_number(epoch[2]) and is_number(epoch[4]) and is_number(epoch[5]) and is_number(epoch[6] or 0)) then
      return false
    end
    for _, gap in ipairs(epoch[3]) do
      if not is_gap(gap) then
        return false
      end
    end
  end
  return true
end

-- What is known about the sequence numbers of a source.
local function history_of(source)
  local history = histories[source]
  if not history then
    local key = prefix .. ':gaps:' .. sources[source][1]
    history = {epochs = unpacked(key, safe('GET', key), is_history) or {}}
    history.was_gapped = is_gapped(history.epochs)
    histories[source] = history
  end
  return history
end

-- When there are too many gaps to keep one by one, the oldest is kept as a number only.
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

-- The first number that is processed need not be the lowest, since partitions are not read in step. Returns how many more
-- numbers are missing. Without an epoch, a low number rather means that the source has started over.
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

-- A history of before this shard forgot may lack numbers that were delivered since: what is passed over next is no gap, and neither
-- is what comes before the numbers of a history that begins then.
local function go_on(epoch, number)
  epoch[2], epoch[5], epoch[6] = max(epoch[2], number + 1), 0, generation_since
  return fill(epoch[3], number)
end

-- Returns how many more numbers are missing, and how many of the missing ones were found. A jump by a million is not a gap, but
-- a counter that was set, or a broken value.
local function follow(source, number, name)
  local history = history_of(source)
  history.group, history.is_new = group, true
  for _, epoch in ipairs(history.epochs) do
    if epoch[1] == name then
      local first, gaps = epoch[2], epoch[3]
      if (epoch[6] or 0) ~= generation_since then
        return 0, go_on(epoch, number)
      end
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
  table.insert(history.epochs, 1, {name, number + 1, {}, 0, has_forgotten and 0 or number, generation_since})
  history.epochs[MAX_EPOCHS + 1] = nil
  return 0, 0
end

local function settle_histories()
  local trimmed = {}
  for source, history in pairs(histories) do
    if history.is_new then
      local digest, text = sources[source][1], sources[source][2]
      redis.call('SET', prefix .. ':gaps:' .. digest, cmsgpack.pack(history.epochs), 'EX', GAPS_SECONDS)
      local by_time = prefix .. ':gapped:' .. groups[history.group]
      local by_name = prefix .. ':gapped-named:' .. groups[history.group]
      if not trimmed[by_time] then
        trim(by_time, by_name, now - GAPS_SECONDS * 1000)
        trimmed[by_time] = true
      end
      if is_gapped(history.epochs) then
        redis.call('ZADD', by_time, now, text)
        safe('ZADD', by_name, 0, text)
      elseif history.was_gapped then
        redis.call('ZREM', by_time, text)
        safe('ZREM', by_name, text)
      end
    end
  end
end
