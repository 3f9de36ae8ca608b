-- What who holds a lease may do. Each returns 1, or 0 where the lease is not the current one.

operations.renew = function()
  local delivery, lease = held_by(take(), take()), take_number()
  if not delivery then return 0 end
  local group = delivery.group
  local place = group and call('HGET', base .. 'groups', group)
  local other = place and string.sub(place, 2) ~= delivery.member
  if other and string.sub(place, 1, 1) == '+' then return 0 end
  move(delivery, 'running', now + lease)
  call('HDEL', delivery.key, 'lost', 'named_at')
  if group then
    if other then hold(string.sub(place, 2)) end
    call('HSET', base .. 'groups', group, '+' .. delivery.member)
  end
  return 1
end

local function write_progress(delivery, done, failures)
  call('HDEL', delivery.key, 'done', 'failures')
  if done ~= '' then call('HSET', delivery.key, 'done', done) end
  if failures ~= '' then call('HSET', delivery.key, 'failures', failures) end
end

operations.mark = function()
  local delivery, done, failures = held_by(take(), take()), take(), take()
  if not delivery then return 0 end
  write_progress(delivery, done, failures)
  return 1
end

operations.complete = function()
  local delivery = held_by(take(), take())
  if not delivery then return 0 end
  call('DEL', delivery.key)
  leave_state(delivery)
  leave_group(delivery)
  call('ZADD', base .. 'done', now, delivery.id)
  return 1
end

operations.retry = function()
  local delivery, after, done, failures = held_by(take(), take()), take_number(), take(), take()
  if not delivery then return 0 end
  write_progress(delivery, done, failures)
  call('HDEL', delivery.key, 'lost', 'named_at')
  move(delivery, 'scheduled', now + after)
  if delivery.group then vacate(delivery) end
  return 1
end

operations.release = function()
  local delivery, done, failures = held_by(take(), take()), take(), take()
  if not delivery then return 0 end
  write_progress(delivery, done, failures)
  call('HDEL', delivery.key, 'lost', 'named_at')
  call('HINCRBY', delivery.key, 'attempt', -1)
  make_ready(delivery, now)
  return 1
end

operations.bury = function()
  local delivery, handlers, done, failures = held_by(take(), take()), take(), take(), take()
  if not delivery then return 0 end
  write_progress(delivery, done, failures)
  call('HDEL', delivery.key, 'lost', 'named_at')
  call('HSET', delivery.key, 'handlers', handlers)
  move(delivery, 'dead', now)
  leave_group(delivery)
  return 1
end
