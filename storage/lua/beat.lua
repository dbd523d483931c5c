-- ARGV: notices, what is known, node, member, TTL in ms, a name for a new incarnation, then shard and epoch by turns.

local known, node, member, ttl_ms, fresh = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]

local incarnation = redis.call('HGET', LEASES, '.incarnation')
if not incarnation or redis.call('HGET', MEMBERS, '.incarnation') ~= incarnation then
  redis.call('HSET', LEASES, '.incarnation', fresh)
  redis.call('HSET', MEMBERS, '.incarnation', fresh)
end

local mark = '-'
if is_alive(node) then
  mark = string.sub(redis.call('HGET', MEMBERS, node), 14, 14)
end
redis.call('HSET', MEMBERS, node, string.format('%013.0f', now + ttl_ms) .. mark .. member)

local wrote = false
for i = 7, #ARGV, 2 do
  local shard, epoch = ARGV[i], tonumber(ARGV[i + 1])
  local record = record_of(shard)
  if not record then
    put(shard, epoch, node, '', 0)
    wrote = true
  elseif record.node == node then
    if record.epoch ~= epoch then
      put(shard, epoch, node, record.heir, 0)
      wrote = true
    end
  elseif record.epoch < epoch or (record.epoch == epoch and record.node ~= '' and not is_alive(record.node)) then
    put(shard, epoch, node, '', 0)
    wrote = true
  end
end
if wrote then
  changed()
end

-- Nothing stays for ever of a database whose nodes are all gone.
redis.call('PEXPIRE', MEMBERS, KEPT_MS)
redis.call('PEXPIRE', LEASES, KEPT_MS)
return sight(known)
