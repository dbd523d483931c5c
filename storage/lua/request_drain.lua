-- ARGV: notices, teller, id or name. Returns how many of those live and have been marked.

local teller, wanted, marked = ARGV[2], ARGV[3], 0
local found = redis.call('HGETALL', MEMBERS)
for i = 1, #found, 2 do
  local id, value = found[i], found[i + 1]
  if id ~= '.incarnation' and tonumber(string.sub(value, 1, 13)) > now then
    local member = string.sub(value, 15)
    if id == wanted or cmsgpack.unpack(member).name == wanted then
      redis.call('HSET', MEMBERS, id, string.sub(value, 1, 13) .. 'D' .. member)
      marked = marked + 1
    end
  end
end
if marked > 0 then
  notify(teller)
end
return marked
