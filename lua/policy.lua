-- SPDX-License-Identifier: Apache-2.0
-- The standard policy: what holds where a site says nothing of its own. Copy it and change it; sluice-policy(5)
-- describes everything that can be used here. What a copy leaves out is taken from this file.

-- function admit(req)             may this request go on, and under which limits? It is left out here: the tier's limits
--   hold, and a model that the tier does not list does not exist for its callers. Return
--   nil                            the tier's own limits and priority
--   deny(status, code, words)      no, and why
--   { limits =, priority =, max_output =, model = }   yes, with other terms; what is left out is the tier's

-- function route(req, model)      which replica? It is left out here: sluice takes the least loaded one. Return
--   nil, a replica of model.replicas, a list of them (best first), another model's name, or deny(...)

-- function lease(event)           may this job have what it asks for? It is left out here: it may. Return
--   nil, deny(status, code, words), or { queue =, priority =, limit = }   yes, on other terms

-- How many replicas should this model have? Called once a second or so; the answer is kept between model.min and
-- model.max. Enough for all requests, counted at once; fewer only after model.idle seconds without a request.
function scale(model, signals)
  local busy = signals.running + signals.waiting
  local wanted = (busy + model.concurrency - 1) // model.concurrency
  if wanted < signals.replicas and (busy > 0 or signals.idle < model.idle) then
    return signals.replicas
  end
  return wanted
end

-- Tests run before a policy is used: one that fails keeps it out.
function test_requests_bring_replicas()
  local model = fleet { model = "test-model" } -- 8 requests at once for each replica, idle after 600 s
  expect(scale(model, signals { replicas = 0, waiting = 1 })).equals(1)
  expect(scale(model, signals { replicas = 1, running = 8, waiting = 1 })).equals(2)
end

function test_replicas_stay_until_the_model_is_idle()
  local model = fleet { model = "test-model" }
  expect(scale(model, signals { replicas = 2, running = 1 })).equals(2)
  expect(scale(model, signals { replicas = 2, idle = 599 })).equals(2)
  expect(scale(model, signals { replicas = 2, idle = 600 })).equals(0)
end
