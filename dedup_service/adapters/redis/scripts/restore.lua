-- Claims what the clean stream says was published. Follows the constants, safe_calls.lua and marker.lua.
-- KEYS: claim keys. ARGV[1]: for each key when its claim ends, in ms since the epoch (6 bytes), and the claim, concatenated.
-- A claim of another origin is replaced, since the clean stream is right; one of the same origin keeps what it says of replicas.
-- Returns how many claims were written, the keys that were unreadable, and the number of calls.
if not is_known() then
  return REFUSED
end
local decode, sub, call, records = struct.unpack, string.sub, redis.call, ARGV[1]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local PUBLISHED, ENDS_BYTES = string.char(CONFIRMED), 6

local function replace(key, claim, ttl)
  local found = redis.pcall('GET', key)
  if type(found) ~= 'string' or #found ~= CLAIM_BYTES then
    forget(key)
  elseif sub(found, ORIGIN_FIRST, ORIGIN_LAST) == sub(claim, ORIGIN_FIRST, ORIGIN_LAST) then
    claim, ttl = (string.byte(found, 1) == RESTORED and found or PUBLISHED .. sub(found, REPLICAS_FIRST)), math.max(ttl, call('PTTL', key))
  end
  call('SET', key, claim, 'PX', string.format('%.0f', ttl))
end

local written, at = 0, 1
for _, key in ipairs(KEYS) do
  local high, low = decode('>I2I4', records, at)
  local ttl, claim = high * 4294967296 + low - now, sub(records, at + ENDS_BYTES, at + ENDS_BYTES + CLAIM_BYTES - 1)
  at = at + ENDS_BYTES + CLAIM_BYTES
  if ttl > 0 then
    if not call('SET', key, claim, 'NX', 'PX', string.format('%.0f', ttl)) then
      replace(key, claim, ttl)
    end
    written = written + 1
  end
end
return {written, unreadable, calls}
