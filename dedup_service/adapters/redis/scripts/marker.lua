-- Whether the claims of this shard are complete on this server. Follows safe_calls.lua, and comes before every script that works
-- with them. The last of ARGV is the generation that the caller knows, or '' for a caller that keeps no markers; before it comes
-- the highest number of calls that it has seen. The last of KEYS is then the marker.
-- A server that is another one than the marker's, or has counted fewer calls than were seen, has forgotten what came after the
-- marker: a call to it returns REFUSED, before it has had any effect.
local REFUSED, FORGETFUL, generation = -1, 'forgetful', table.remove(ARGV)
local marker, seen_calls, calls = nil, 0, 0
-- What the marker says: since when this generation is, in ms; whether claims were missing at its beginning; whether claims may be
-- made; the number of the last fence; the term of unconfirmed claims (core/claims.py).
local generation_since, has_forgotten, is_ready, fence, term = 0, false, true, '0', 0
if generation ~= '' then
  marker, seen_calls = table.remove(KEYS), tonumber(table.remove(ARGV))
end

-- A run of a server has an id. Where INFO is not allowed, only the number of calls shows another server.
local function server_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end

local function is_server(id)
  if id == '' or id == FORGETFUL then
    return id == ''
  end
  local info = redis.pcall('INFO', 'server')
  return type(info) ~= 'string' or string.find(info, 'run_id:' .. id, 1, true) ~= nil
end

-- Counts this call, unless the marker or the server is another one.
local function is_known()
  if generation == '' then
    return true
  end
  local stored, server, counted, since, forgot, ready, fenced, present_term =
    unpack(safe('HMGET', marker, 'generation', 'server', 'calls', 'since', 'forgot', 'ready', 'fence', 'term'))
  if stored ~= generation or not server or not is_server(server) then
    return false
  end
  if (whole(counted) or 0) < seen_calls then
    redis.call('HSET', marker, 'server', FORGETFUL)
    return false
  end
  calls = safe('HINCRBY', marker, 'calls', 1)
  generation_since, has_forgotten = whole(since) or 0, since ~= false and forgot == since
  is_ready, fence, term = ready == '1', fenced or '0', whole(present_term) or 0
  return true
end
