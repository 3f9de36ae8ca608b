-- How deliveries come in and go out to be run.

local unfinished

operations.accept = function()
  local id, topic, group, created_at, body, trace = take(), take(), take(), take(), take(), take()
  local bound = take_number()
  local key = base .. 'delivery:' .. id
  if call('EXISTS', key) == 1 then return 0 end
  local completed_at = call('ZSCORE', base .. 'done', id)
  if completed_at then
    if tonumber(completed_at) > now - retention then return 0 end
    call('ZREM', base .. 'done', id)
  end
  if not unfinished then
    unfinished = 0
    for _, state in ipairs({'waiting', 'held', 'named', 'running', 'scheduled'}) do
      unfinished = unfinished + call('ZCARD', base .. state)
    end
  end
  if unfinished >= bound then return -1 end
  unfinished = unfinished + 1
  local member = string.format('%0' .. DIGITS .. 'd', call('INCR', base .. 'arrivals')) .. id
  local state = group == '' and 'waiting' or 'held'
  call('HSET', key, 'member', member, 'state', state, 'topic', topic, 'first_seen', now, 'body', body)
  if trace ~= '' then call('HSET', key, 'trace', trace) end
  call('ZADD', base .. state, now, member)
  made_ready = 1
  if group ~= '' then
    call('HSET', key, 'group', group, 'created_at', created_at)
    call('ZADD', base .. 'group:' .. group, created_at, member)
    settle(group)
  end
  return 1
end

-- The oldest that are waiting or named, as ids.
local function oldest(limit)
  local waiting = call('ZRANGE', base .. 'waiting', 0, limit - 1, 'WITHSCORES')
  local named = call('ZRANGE', base .. 'named', 0, limit - 1, 'WITHSCORES')
  local ids, w, n = {}, 1, 1
  while #ids < limit and (waiting[w] or named[n]) do
    local earlier = waiting[w]
    if waiting[w] and named[n] then
      local a, b = tonumber(waiting[w + 1]), tonumber(named[n + 1])
      earlier = a < b or (a == b and waiting[w] < named[n])
    end
    if earlier then
      ids[#ids + 1], w = id_of(waiting[w]), w + 2
    else
      ids[#ids + 1], n = id_of(named[n]), n + 2
    end
  end
  return ids
end

local function next_fencing()
  -- Never below the time: also where Redis lost its latest writes in a crash, no number is used twice.
  local last = tonumber(call('GET', base .. 'fencing') or '0')
  return math.max(last + 1, math.floor(now * 1e6))
end

-- Seconds until something becomes ready by itself.
local function until_due()
  local soonest = math.huge
  for _, state in ipairs({'running', 'scheduled'}) do
    local first = call('ZRANGE', base .. state, 0, 0, 'WITHSCORES')
    if first[2] then soonest = math.min(soonest, tonumber(first[2])) end
  end
  return soonest - now
end

operations.claim = function()
  local limit, lease, any, ids = take_number(), take_number(), take(), take_list()
  pass_time()
  if any == '1' then ids = oldest(limit) end
  local claims = {}
  local fencing = next_fencing()
  for _, id in ipairs(ids) do
    local delivery = load(id)
    if #claims < limit and delivery and (delivery.state == 'waiting' or delivery.state == 'named') then
      move(delivery, 'running', now + lease)
      if delivery.group then call('HSET', base .. 'groups', delivery.group, '+' .. delivery.member) end
      local attempt = call('HINCRBY', delivery.key, 'attempt', 1)
      local shown = string.format('%.0f', fencing)
      call('HSET', delivery.key, 'fencing', shown)
      if delivery.lost then call('HDEL', delivery.key, 'lost') end
      local fields = call('HMGET', delivery.key, 'first_seen', 'done', 'failures', 'body', 'trace')
      claims[#claims + 1] = {
        id, attempt, shown, delivery.lost or '', fields[1], fields[2] or '', fields[3] or '', fields[4],
        fields[5] or '',
      }
      fencing = fencing + 1
    end
  end
  if #claims > 0 then call('SET', base .. 'fencing', string.format('%.0f', fencing - 1)) end
  if any == '1' and #claims < limit then made_ready = 0 end -- nothing is left of it
  return {exact(until_due()), claims}
end

operations.dispatch = function()
  local limit, again_after = take_number(), take_number()
  pass_time()
  local names = {}
  local fresh = call('ZRANGE', base .. 'waiting', 0, limit - 1, 'WITHSCORES')
  for i = 1, #fresh, 2 do
    local delivery = load(id_of(fresh[i]))
    move(delivery, 'named', fresh[i + 1])
    names[#names + 1] = delivery.member
  end
  if #names < limit then
    local lost = call('ZRANGEBYSCORE', base .. 'again', '-inf', now - again_after, 'LIMIT', 0, limit - #names)
    for _, member in ipairs(lost) do
      call('ZREM', base .. 'again', member)
      names[#names + 1] = member
    end
  end
  for i, member in ipairs(names) do
    call('ZADD', base .. 'again', now, member)
    names[i] = id_of(member)
  end
  if #names < limit then made_ready = 0 end -- nothing is left of it
  return names
end
