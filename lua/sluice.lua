-- SPDX-License-Identifier: Apache-2.0
-- The library of policies: the table `sluice`, deny(), and what tests use. `host` holds the functions that are
-- written in C.
local host = ...

local sluice = {
  glob = host.glob,     -- glob(text, pattern): * and ? over the whole text
  prefix = host.prefix, -- prefix(text, start)
}

-- True when the value is in the list.
function sluice.one_of(value, list)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

-- Parts of a time (req.time, Unix seconds). `zone`: hours east of UTC, default 0.
function sluice.hour(time, zone) return (time + (zone or 0) * 3600) // 3600 % 24 end
function sluice.minute(time, zone) return (time + (zone or 0) * 3600) // 60 % 60 end
-- 1 is Monday, 7 is Sunday.
function sluice.weekday(time, zone) return ((time + (zone or 0) * 3600) // 86400 + 3) % 7 + 1 end
-- Monday to Friday, from hour `from` to before hour `to`.
function sluice.office_hours(time, from, to, zone)
  local hour = sluice.hour(time, zone)
  return sluice.weekday(time, zone) <= 5 and hour >= from and hour < to
end

-- The ready replica with the fewest requests, of a list or of model.replicas; nil when none is ready.
function sluice.least_loaded(replicas)
  local best
  for _, replica in ipairs(replicas) do
    if replica.state == "ready" and
        (not best or replica.running + replica.waiting < best.running + best.waiting) then
      best = replica
    end
  end
  return best
end

-- What a hook returned, in words.
local function show(result)
  local kind = host.kind(result)
  if kind == "denial" then return "denied(" .. result.status .. ", \"" .. result.code .. "\")" end
  if kind == "replica" then return "replica " .. result.name end
  if kind == "table" then
    if result[1] ~= nil then return "a list of " .. #result end
    return result.model and "allowed, as model " .. tostring(result.model) or "allowed"
  end
  if kind == "nil" then return "nil (the default)" end
  if kind == "string" then return "\"" .. result .. "\"" end
  return tostring(result)
end

local function fail(wanted, result) error("expected " .. wanted .. ", got " .. show(result), 3) end

-- expect(result).denied(403): what a test demands of a hook's answer. Each returns the same table, for more.
local function expect(result)
  local kind = host.kind(result)
  local demands = {}
  local function field(name) return kind == "table" and result[name] or nil end

  function demands.denied(status, code)
    local wanted = "denied(" .. (status and tostring(status) or "") .. (code and ", \"" .. code .. "\"" or "") .. ")"
    if kind ~= "denial" or status and result.status ~= status or code and result.code ~= code then fail(wanted, result) end
    return demands
  end
  function demands.allowed()
    if kind ~= "nil" and kind ~= "table" then fail("allowed", result) end
    return demands
  end
  function demands.priority(n)
    if field("priority") ~= n then
      error("expected priority " .. tostring(n) .. ", got " .. tostring(field("priority") or show(result)), 2)
    end
    return demands
  end
  function demands.max_output(n)
    if field("max_output") ~= n then
      error("expected max_output " .. tostring(n) .. ", got " .. tostring(field("max_output") or show(result)), 2)
    end
    return demands
  end
  function demands.queue(name)
    if field("queue") ~= name then
      error("expected queue " .. tostring(name) .. ", got " .. tostring(field("queue") or show(result)), 2)
    end
    return demands
  end
  function demands.limit(seconds)
    if field("limit") ~= seconds then
      error("expected limit " .. tostring(seconds) .. ", got " .. tostring(field("limit") or show(result)), 2)
    end
    return demands
  end
  function demands.model(name)
    local got = kind == "string" and result or field("model")
    if got ~= name then error("expected model " .. tostring(name) .. ", got " .. tostring(got or show(result)), 2) end
    return demands
  end
  function demands.replica(name)
    local first = kind == "table" and result[1] or result
    if host.kind(first) ~= "replica" or first.name ~= name then fail("replica " .. tostring(name), result) end
    return demands
  end
  function demands.equals(value)
    if result ~= value then fail(show(value), result) end
    return demands
  end
  return setmetatable(demands, { __index = function(_, name)
    error("expect has no '" .. tostring(name) ..
      "': denied, allowed, priority, max_output, queue, limit, model, replica, equals", 2)
  end })
end

return {
  sluice = sluice,
  deny = host.deny,
  expect = expect,
  request = host.request,
  fleet = host.fleet,
  signals = host.signals,
  event = host.event,
}
