-- Stands before each of the other scripts.
--
-- `members` is a hash: id -> 13 digits of when the heartbeat expires, "D" or "-" (asked to drain or not), the member.
-- `leases` is a hash: shard -> {epoch, node, heir, when the heir's grace ends}. Both hold the incarnation, so that
-- losing one of them is noticed like losing both. `.change` counts what happened to leases.

local MEMBERS, LEASES, NOTICES = KEYS[1], KEYS[2], ARGV[1]
local KEPT_MS = 3600 * 1000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function is_alive(id)
  local found = redis.call('HGET', MEMBERS, id)
  return found and tonumber(string.sub(found, 1, 13)) > now
end

local function record_of(shard)
  local found = redis.call('HGET', LEASES, shard)
  if not found then
    return nil
  end
  local epoch, node, heir, grace_ends = unpack(cmsgpack.unpack(found))
  return { epoch = epoch, node = node, heir = heir, grace_ends = grace_ends }
end

local function put(shard, epoch, node, heir, grace_ends)
  redis.call('HSET', LEASES, shard, cmsgpack.pack({ epoch, node, heir, grace_ends }))
end

local function changed()
  redis.call('HINCRBY', LEASES, '.change', 1)
end

-- The teller's own subscription skips what begins with its name.
local function notify(teller)
  redis.call('PUBLISH', NOTICES, teller)
end

-- Incarnation, change, members by id and value, leases. There are no leases in it when the caller has seen them at the
-- same change already. Sweeps members whose heartbeat has expired.
local function sight(known)
  local members = {}
  local found = redis.call('HGETALL', MEMBERS)
  for i = 1, #found, 2 do
    local id, value = found[i], found[i + 1]
    if id ~= '.incarnation' then
      if tonumber(string.sub(value, 1, 13)) > now then
        members[#members + 1] = id
        members[#members + 1] = value
      else
        redis.call('HDEL', MEMBERS, id)
      end
    end
  end
  local incarnation = redis.call('HGET', LEASES, '.incarnation') or ''
  local change = redis.call('HGET', LEASES, '.change') or '0'
  local leases = false
  if known ~= incarnation .. ':' .. change then
    leases = redis.call('HGETALL', LEASES)
  end
  return { incarnation, change, members, leases }
end
