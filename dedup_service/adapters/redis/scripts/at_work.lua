-- Pods of one configuration work at a time. Part of the scripts that grant leases; follows marker_fence.lua.

-- Whether pods of another configuration may hold leases. If none does, those of this one may, for `ttl` from now on; an empty
-- configuration takes no part in this.
local function another_is_at_work(key, configuration, ttl)
  if configuration == '' then
    return false
  end
  local at_work = safe('GET', key)
  if at_work and redis.call('PTTL', key) < 0 then -- nothing of ours lasts for ever
    forget(key)
    at_work = false
  end
  if at_work and at_work ~= configuration then
    return true
  end
  if redis.call('PTTL', key) < ttl then
    redis.call('SET', key, configuration, 'PX', ttl)
  end
  return false
end
