-- The record of deliveries in Redis: what every operation shares.
--
-- All parts are put together into one script, which performs any number of operations in one call. KEYS[1] is what
-- all keys begin with, its hash tag included. ARGV is the time (empty: that of the server), the retention time, when
-- the caller stops waiting for the answer (empty: not known), and then the operations, each its name and its arguments:
-- the length of each part, as MessagePack, and all parts one after the other. An ARGV for each would cost more.
-- The answer is the time of the server, one reply for each operation, and whether something became ready to be claimed.
--
--   delivery:<id>    hash: one delivery that is not completed
--   waiting          ready to run since
--   held             ready since, but another one of its group comes first
--   named            ready since, and named to a task engine; `again` says when
--   running          lease ends at
--   scheduled        due at
--   dead             died at
--   done             completed at, under its id alone: the payload is gone
--   group:<group>    the unfinished deliveries of a group, by created_at
--   groups           hash: for each group "+" and who runs, or "-" and who is waiting or named
--
-- All of these but the hashes are sorted sets. A delivery is in the one that its field `state` names. Members are the
-- number of its arrival and its id, so that what has the same score is in order of arrival. No key expires, so that
-- no policy for expiring keys can evict one.
--
-- A script that finds Redis out of memory is stopped at its first write if that may need memory, and never after it.
-- So every operation but `accept` begins with a ZREM, DEL or HDEL: what is under way can be finished then.

local call = redis.call
local base = KEYS[1]
local retention = tonumber(ARGV[2])
local lengths, parts = cmsgpack.unpack(ARGV[4]), ARGV[5]
local position, offset = 0, 0
local operations = {}
local made_ready = 0

local time = call('TIME')
local server_time = tonumber(time[1]) + tonumber(time[2]) / 1e6
local now = tonumber(ARGV[1]) or server_time

local DIGITS = 15
local DUE = 1000 -- how many deliveries one call makes ready at the most, so that it stays short

local function take()
  position = position + 1
  local start = offset + 1
  offset = offset + lengths[position]
  return string.sub(parts, start, offset)
end

local function take_number()
  return tonumber(take())
end

local function take_list()
  local list = {}
  for i = 1, take_number() do list[i] = take() end
  return list
end

local function exact(number)
  return string.format('%.17g', number)
end

local function id_of(member)
  return string.sub(member, DIGITS + 1)
end

local function load(id)
  local key = base .. 'delivery:' .. id
  local fields = call('HMGET', key, 'member', 'state', 'group', 'fencing', 'lost')
  if not fields[1] then return nil end
  return {
    key = key, id = id,
    member = fields[1], state = fields[2], group = fields[3], fencing = fields[4], lost = fields[5],
  }
end

local function leave_state(delivery)
  call('ZREM', base .. delivery.state, delivery.member)
  if delivery.state == 'named' then call('ZREM', base .. 'again', delivery.member) end
end

local function move(delivery, state, score)
  leave_state(delivery)
  call('ZADD', base .. state, score, delivery.member)
  call('HSET', delivery.key, 'state', state)
  delivery.state = state
  if state == 'waiting' then made_ready = 1 end
end

-- Takes the place of a group away from who is waiting or named, back to those that are held.
local function hold(member)
  local delivery = load(id_of(member))
  local named_at = call('ZSCORE', base .. 'again', member)
  move(delivery, 'held', call('ZSCORE', base .. delivery.state, member))
  if named_at then call('HSET', delivery.key, 'named_at', named_at) end
end

local function offer(delivery)
  local named_at = call('HGET', delivery.key, 'named_at')
  move(delivery, named_at and 'named' or 'waiting', call('ZSCORE', base .. 'held', delivery.member))
  if named_at then
    call('ZADD', base .. 'again', named_at, delivery.member)
    call('HDEL', delivery.key, 'named_at')
  end
  call('HSET', base .. 'groups', delivery.group, '-' .. delivery.member)
end

-- Lets the first of a group wait to be claimed, where none of the group runs.
local function settle(group)
  local place = call('HGET', base .. 'groups', group)
  if place and string.sub(place, 1, 1) == '+' then return end
  local offered = place and string.sub(place, 2) or nil
  local first = call('ZRANGE', base .. 'group:' .. group, 0, 0)[1]
  if offered == first then return end
  if offered then
    hold(offered)
    call('HDEL', base .. 'groups', group)
  end
  local delivery = first and load(id_of(first))
  if delivery and delivery.state == 'held' then offer(delivery) end
end

-- A delivery no longer has the place of its group.
local function vacate(delivery)
  local place = call('HGET', base .. 'groups', delivery.group)
  if place and string.sub(place, 2) == delivery.member then call('HDEL', base .. 'groups', delivery.group) end
  settle(delivery.group)
end

-- A delivery is finished, or dead.
local function leave_group(delivery)
  if delivery.group then
    call('ZREM', base .. 'group:' .. delivery.group, delivery.member)
    vacate(delivery)
  end
end

local function make_ready(delivery, since)
  if delivery.group then
    move(delivery, 'held', since)
    vacate(delivery)
  else
    move(delivery, 'waiting', since)
  end
end

-- Makes ready what is due, and what nobody holds any more.
local function pass_time()
  for _, state in ipairs({'running', 'scheduled'}) do
    local due = call('ZRANGEBYSCORE', base .. state, '-inf', now, 'WITHSCORES', 'LIMIT', 0, DUE)
    for i = 1, #due, 2 do
      local delivery = load(id_of(due[i]))
      make_ready(delivery, due[i + 1])
      if state == 'running' then call('HSET', delivery.key, 'lost', '1') end
    end
  end
end

-- The delivery that is still held by who shows this fencing number: also after the lease ran out, until it is claimed.
local function held_by(id, fencing)
  local delivery = load(id)
  if delivery and delivery.fencing == fencing and (delivery.state == 'running' or delivery.lost) then
    return delivery
  end
  return nil
end
