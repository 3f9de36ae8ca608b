-- How the record stands, and what it may forget; and then the loop over what was asked for.

operations.stats = function()
  local function size(state) return call('ZCARD', base .. state) end
  local function due(state) return call('ZCOUNT', base .. state, '-inf', now) end
  local oldest = now
  for _, state in ipairs({'waiting', 'held', 'named', 'running', 'scheduled'}) do
    local first = call('ZRANGE', base .. state, 0, 0, 'WITHSCORES')
    if first[2] then oldest = math.min(oldest, tonumber(first[2])) end
  end
  local lost, ripe = due('running'), due('scheduled')
  return {
    size('waiting') + size('held') + size('named') + lost + ripe,
    size('running') - lost,
    size('scheduled') - ripe,
    size('dead'),
    size('done'),
    exact(now - oldest),
  }
end

-- Returns how many are still to be forgotten.
operations.tidy = function()
  local limit = take_number()
  local old = call('ZCOUNT', base .. 'done', '-inf', now - retention)
  if old > 0 then call('ZREMRANGEBYRANK', base .. 'done', 0, math.min(old, limit) - 1) end
  return math.max(0, old - limit)
end

-- A call that was held up on its way is not performed: whoever made it has been told that nothing was changed.
local valid_until = tonumber(ARGV[3])
if valid_until and server_time > valid_until then return {exact(server_time), false, 0} end

local replies = {}
while position < #lengths do replies[#replies + 1] = operations[take()]() end
return {exact(server_time), replies, made_ready}
