-- Sets many keys by one command, where the server has one that also gives them an end: each command of a script costs as much as
-- all else that is done for a key. Follows safe_calls.lua.
local MSETEX_SINCE = 9 * 65536 + 1 * 256  -- Valkey 9.1; no Redis has this number
local has_msetex = (redis.VALKEY_VERSION_NUM or 0) >= MSETEX_SINCE

-- The keys become what `values` has for them, and end as the options of SET that follow say. Returns whether that was done: not for
-- less than two keys, where the command is missing or not allowed, or where a condition among the options does not hold.
local function set_all(keys, values, ...)
  local count, args = #keys, {}
  if not has_msetex or count < 2 then
    return false
  end
  for i = 1, count do
    local key = keys[i]
    args[2 * i - 1], args[2 * i] = key, values[key]
  end
  for i = 1, select('#', ...) do
    args[2 * count + i] = select(i, ...)
  end
  return redis.pcall('MSETEX', count, unpack(args)) == 1
end
