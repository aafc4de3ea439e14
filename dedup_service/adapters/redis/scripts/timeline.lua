-- Replaces the timeline unless somebody else has done so. Follows safe_calls.lua. KEYS[1]: a hash of version and content. ARGV: the
-- version that the caller has read, or nothing where there was none; the new version, and the new content.
-- Returns 1, or 0 when there is another version; and the keys that were unreadable.
if (safe('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then
  return {0, unreadable}
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'content', ARGV[3])
return {1, unreadable}
