-- Shares what this pod has made with all, and ends its turn. KEYS: as in shared.lua. ARGV: the content, how long it is kept, and
-- how long nobody has the next turn (ms).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], string.format('%.0f ', now) .. ARGV[1], 'PX', ARGV[2])
if tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
else
  redis.call('DEL', KEYS[2])
end
return 1
