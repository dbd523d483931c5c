-- ARGV: notices, node, then shard and heir by turns; an empty heir withdraws.

local node, wrote = ARGV[2], false
for i = 3, #ARGV, 2 do
  local shard, heir = ARGV[i], ARGV[i + 1]
  local record = record_of(shard)
  if record and record.node == node and record.heir ~= heir then
    put(shard, record.epoch, node, heir, 0)
    wrote = true
  end
end
if wrote then
  changed()
end
return wrote and 1 or 0
