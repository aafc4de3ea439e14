-- What stands under our keys may have been written by anybody. What can't be read is forgotten, and its key is reported.
-- The first part of every script.
local unreadable = {}

local function forget(key)
  redis.call('DEL', key)
  unreadable[#unreadable + 1] = key
end

-- Calls a command on one of our keys. A key of another type, or a counter that is no number, is forgotten, and the call repeated;
-- any other error ends the script.
local function safe(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  local problem = type(answer) == 'table' and answer.err
  if not problem then
    return answer
  end
  if string.find(problem, 'WRONGTYPE') or string.find(problem, 'not an integer') or string.find(problem, 'overflow') then
    forget(key)
  end
  return redis.call(command, key, ...)
end

-- A whole number in decimal digits that Lua can count with, or nil. Lua alone would also take 0x10 or 1e3, which the service can't read.
local function whole(text)
  local number = text and string.find(text, '^%-?%d+$') and tonumber(text)
  if number and number > -9007199254740992 and number < 9007199254740992 then
    return number
  end
end

-- Unpacks MessagePack. Returns nil for what `is_valid` refuses.
local function unpacked(key, packed, is_valid)
  if not packed then
    return nil
  end
  local is_readable, value = pcall(cmsgpack.unpack, packed)
  if is_readable and type(value) == 'table' and is_valid(value) then
    return value
  end
  unreadable[#unreadable + 1] = key
end
