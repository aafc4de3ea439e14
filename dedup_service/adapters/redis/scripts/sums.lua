-- Sums of counts, in one answer for many hashes: most of a source's hours are empty, and none has to be shown by itself. Follows
-- safe_calls.lua; changes nothing. KEYS: for each sum, as many hashes as for the others. ARGV: how many that is. Returns, in
-- MessagePack, each sum as a list of names and counts by turns; and the keys that were unreadable.
local function fields_of(key)
  local fields = redis.pcall('HGETALL', key)
  if not fields.err then
    return fields
  end
  if not string.find(fields.err, 'WRONGTYPE') then
    error(fields.err)
  end
  unreadable[#unreadable + 1] = key
  return {}
end

-- Names that begin with c or t hold contents and times of the last readings.
local function is_count(name)
  return string.find(name, '^[abd-su-z][%w:+-]*$')
end

local function add(sum, key)
  local fields = fields_of(key)
  for i = 1, #fields, 2 do
    local name, count = fields[i], whole(fields[i + 1])
    if is_count(name) and count then
      sum[name] = (sum[name] or 0) + count
    elseif is_count(name) then
      unreadable[#unreadable + 1] = key
    end
  end
end

local of_each, sums = tonumber(ARGV[1]), {}
for first = 1, #KEYS, of_each do
  local sum, pairs_of_it = {}, {}
  for i = first, first + of_each - 1 do
    add(sum, KEYS[i])
  end
  for name, count in pairs(sum) do
    pairs_of_it[#pairs_of_it + 1] = name
    pairs_of_it[#pairs_of_it + 1] = count
  end
  sums[#sums + 1] = pairs_of_it
end
return {cmsgpack.pack(sums), unreadable}
