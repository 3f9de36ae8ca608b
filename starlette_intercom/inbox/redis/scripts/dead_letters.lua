-- Dead letters. Which there are is asked first; then they are looked at a few at a time, so that each call is short.

operations.dead_ids = function()
  local limit = take_number()
  local ids = call('ZREVRANGE', base .. 'dead', 0, limit - 1)
  for i, member in ipairs(ids) do ids[i] = id_of(member) end
  return ids
end

-- Those among the ids that are dead, of the topic, and of the handler. An empty topic or handler fits all.
local function take_dead()
  local topic, handler, found = take(), take(), {}
  for _, id in ipairs(take_list()) do
    local delivery = load(id)
    local fits = delivery and delivery.state == 'dead'
    if fits and topic ~= '' then fits = call('HGET', delivery.key, 'topic') == topic end
    if fits and handler ~= '' then
      fits = false
      for _, name in ipairs(cjson.decode(call('HGET', delivery.key, 'handlers'))) do fits = fits or name == handler end
    end
    if fits then found[#found + 1] = delivery end
  end
  return found
end

operations.letters = function()
  local letters = {}
  for i, delivery in ipairs(take_dead()) do
    local fields = call('HMGET', delivery.key, 'attempt', 'first_seen', 'handlers', 'done', 'failures', 'body')
    local died_at = call('ZSCORE', base .. 'dead', delivery.member)
    letters[i] = {delivery.id, fields[1], fields[2], died_at, fields[3], fields[4] or '', fields[5] or '', fields[6]}
  end
  return letters
end

operations.replay = function()
  local found = take_dead()
  for _, delivery in ipairs(found) do
    call('HDEL', delivery.key, 'attempt', 'failures', 'handlers', 'lost')
    if delivery.group then
      call('ZADD', base .. 'group:' .. delivery.group, call('HGET', delivery.key, 'created_at'), delivery.member)
    end
    make_ready(delivery, now)
  end
  return #found
end

operations.purge = function()
  local older_than, purged = take_number(), 0
  for _, delivery in ipairs(take_dead()) do
    if tonumber(call('ZSCORE', base .. 'dead', delivery.member)) <= now - older_than then
      call('DEL', delivery.key)
      leave_state(delivery)
      purged = purged + 1
    end
  end
  return purged
end

-- Payloads, to find those that are to be forgotten; these may be of any state.

operations.kept_ids = function()
  local ids = {}
  for _, state in ipairs({'waiting', 'held', 'named', 'running', 'scheduled', 'dead'}) do
    for _, member in ipairs(call('ZRANGE', base .. state, 0, -1)) do ids[#ids + 1] = id_of(member) end
  end
  return ids
end

operations.bodies = function()
  local bodies = {}
  for i, id in ipairs(take_list()) do bodies[i] = call('HGET', base .. 'delivery:' .. id, 'body') end
  return bodies
end

operations.forget = function()
  local forgotten = 0
  for _, id in ipairs(take_list()) do
    local delivery = load(id)
    if delivery then
      call('DEL', delivery.key)
      leave_state(delivery)
      if delivery.state ~= 'dead' then leave_group(delivery) end
      call('ZADD', base .. 'done', now, id)
      forgotten = forgotten + 1
    end
  end
  return forgotten
end
