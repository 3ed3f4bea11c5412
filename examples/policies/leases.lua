-- SPDX-License-Identifier: Apache-2.0
-- A policy for the queue of jobs: large ones at night, short ones first, and no notebook keeps a GPU for days.

local LARGE = 8          -- GPUs
local SHORT = 30 * 60    -- seconds
local INTERACTIVE = { "jupyter", "jupyter-lab", "bash" }

function lease(event)
  if event.change ~= "requested" then return nil end
  if event.gpus >= LARGE and sluice.office_hours(event.time, 8, 18, 1) then
    return deny(403, "large_by_day", event.gpus .. " GPUs are for the night: ask again after 18:00.")
  end
  if sluice.one_of(event.program, INTERACTIVE) then
    return { limit = math.min(event.limit or 4 * 3600, 8 * 3600) }
  end
  if event.limit and event.limit <= SHORT then
    return { priority = math.max(event.priority, 10) }
  end
end

local monday_noon = 1764586800 -- 2025-12-01 11:00 UTC, 12:00 where we are

function test_large_jobs_wait_for_the_night()
  expect(lease(event { gpus = 8, time = monday_noon })).denied(403, "large_by_day")
  expect(lease(event { gpus = 8, time = monday_noon + 8 * 3600 })).allowed()
  expect(lease(event { gpus = 7, time = monday_noon })).equals(nil)
end

function test_notebooks_end()
  expect(lease(event { program = "jupyter" })).limit(4 * 3600)
  expect(lease(event { program = "jupyter", limit = 48 * 3600 })).limit(8 * 3600)
end

function test_short_jobs_go_first()
  expect(lease(event { limit = 600 })).priority(10)
  expect(lease(event { limit = 600, priority = 50 })).priority(50)
  expect(lease(event { limit = 6000 })).equals(nil)
end
