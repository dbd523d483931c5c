-- ARGV: notices, teller, node.

local teller, node, wrote = ARGV[2], ARGV[3], false
local found = redis.call('HKEYS', LEASES)
for i = 1, #found do
  local shard = found[i]
  if string.sub(shard, 1, 1) ~= '.' and record_of(shard).node == node then
    redis.call('HDEL', LEASES, shard)
    wrote = true
  end
end
if wrote then
  changed()
end
if redis.call('HDEL', MEMBERS, node) == 1 or wrote then
  notify(teller)
end
return 1
