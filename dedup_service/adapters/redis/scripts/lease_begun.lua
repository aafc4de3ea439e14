-- Notes up to which event the owner of this epoch may begin to send, or '' for nothing new. It never goes back: calls may overtake
-- each other. Owners of before this field leave it as it is, so the epoch stands in it.
local function note_begun(lease, epoch, number)
  if number == '' then
    return
  end
  local noted_by, noted = string.match(safe('HGET', lease, 'begun') or '', '^(%d+) (%d+)$')
  if noted_by ~= epoch or tonumber(noted) < tonumber(number) then
    redis.call('HSET', lease, 'begun', epoch .. ' ' .. number)
  end
end
