-- Claims what the clean stream says was published. Follows the constants, safe_calls.lua and marker.lua.
-- KEYS: claim keys. ARGV[1]: for each clean event until when its claims are needed, and when they end, in ms since the epoch (6 bytes
-- each), and how many there are (2 bytes); then these, in the order of the keys.
-- A claim of another origin is replaced, since the clean stream is right, unless that is published, too, and ends later; one of the
-- same origin keeps what it says of replicas.
-- Where a claim was missing that is still needed, the marker says so: what was counted before this generation is forgotten, too.
-- Returns how many claims were written, the keys that were unreadable, and the number of calls.
if not is_known() then
  return REFUSED
end
local decode, sub, call, records = struct.unpack, string.sub, redis.call, ARGV[1]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local PUBLISHED, HEAD_BYTES = string.char(CONFIRMED), 14

local function replace(key, claim, ttl)
  local found = redis.pcall('GET', key)
  if type(found) ~= 'string' or #found ~= CLAIM_BYTES then
    forget(key)
  elseif sub(found, ORIGIN_FIRST, ORIGIN_LAST) == sub(claim, ORIGIN_FIRST, ORIGIN_LAST) then
    claim, ttl = (string.byte(found, 1) == RESTORED and found or PUBLISHED .. sub(found, REPLICAS_FIRST)), math.max(ttl, call('PTTL', key))
  elseif string.byte(found, 1) % TERM_UNIT ~= UNCONFIRMED and call('PTTL', key) > ttl then
    return
  end
  call('SET', key, claim, 'PX', string.format('%.0f', ttl))
end

local written, at, i, claim_last, any_missing = 0, 1, 0, CLAIM_BYTES - 1, false
while at <= #records do
  local kept_high, kept_low, high, low, count = decode('>I2I4I2I4I2', records, at)
  local is_needed, ttl = kept_high * 4294967296 + kept_low > now, high * 4294967296 + low - now
  local ttl_text = string.format('%.0f', ttl)
  at = at + HEAD_BYTES
  for _ = 1, count do
    i = i + 1
    if ttl > 0 then
      local key, claim = KEYS[i], sub(records, at, at + claim_last)
      if call('SET', key, claim, 'NX', 'PX', ttl_text) then
        any_missing = any_missing or is_needed
      else
        replace(key, claim, ttl)
      end
      written = written + 1
    end
    at = at + CLAIM_BYTES
  end
end
if any_missing and not has_forgotten then
  call('HSET', marker, 'forgot', string.format('%.0f', generation_since))
end
return {written, unreadable, calls}
