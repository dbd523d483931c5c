-- ARGV: notices, teller, node, then shards. Returns those granted, as shard and epoch by turns.

local teller, node = ARGV[2], ARGV[3]
local granted = {}

-- Who has no heartbeat here, after a flush for one, does not know either who owns what.
if not is_alive(node) then
  return granted
end

local function may_claim(record)
  if not record or record.node == node or record.heir == node then
    return true
  end
  if record.node == '' then
    return record.grace_ends <= now or not is_alive(record.heir)
  end
  return not is_alive(record.node)
end

for i = 4, #ARGV do
  local shard = ARGV[i]
  local record = record_of(shard)
  if may_claim(record) then
    local epoch = record and record.epoch or 0
    put(shard, epoch, node, '', 0)
    granted[#granted + 1] = shard
    granted[#granted + 1] = string.format('%.0f', epoch)
  end
end
if #granted > 0 then
  changed()
  notify(teller)
end
return granted
