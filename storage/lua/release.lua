-- ARGV: notices, teller, node, grace in ms, then shards.

local teller, node, grace_ms, wrote = ARGV[2], ARGV[3], tonumber(ARGV[4]), false
for i = 5, #ARGV do
  local shard = ARGV[i]
  local record = record_of(shard)
  if record and record.node == node then
    if record.heir ~= '' then
      put(shard, record.epoch, '', record.heir, now + grace_ms)
    else
      redis.call('HDEL', LEASES, shard)
    end
    wrote = true
  end
end
if wrote then
  changed()
  notify(teller)
end
return wrote and 1 or 0
