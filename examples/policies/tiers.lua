-- SPDX-License-Identifier: Apache-2.0
-- Three tiers: "free" for small models and short answers, "premium" for all, and whatever else a site has.
--   sluicectl policy test examples/policies/tiers.lua

local big_models = { "*-70b", "*-405b" }
local zone = 1 -- hours east of UTC

local function is_big(model)
  for _, pattern in ipairs(big_models) do
    if sluice.glob(model, pattern) then return true end
  end
  return false
end

function admit(req)
  if not req.tier:allows(req.model) then
    return deny(403, "model_not_in_tier", "Model " .. req.model .. " is not part of tier " .. req.tier.name .. ".")
  end

  if req.tier.name == "free" then
    if is_big(req.model) then
      return deny(403, "model_not_in_tier", req.model .. " needs tier premium. Ask your group's lead.")
    end
    if req.prompt.tokens > 8000 then
      return deny(413, "prompt_too_long", "Tier free takes prompts of up to 8000 tokens. Shorten yours, or ask for premium.")
    end
    -- By day one group cannot take everything, whatever its members' own limits are.
    if sluice.office_hours(req.time, 8, 18, zone) then
      return {
        limits = req.tier.limits + { tokens = 100000, per = "minute", scope = "tenant" },
        max_output = 1024,
      }
    end
    return { max_output = 2048 }
  end

  if req.tier.name == "premium" then
    return { priority = req.tier.priority + 10 }
  end
end

-- Tuesday, 2026-11-24, 00:00 UTC.
local tuesday = 1795478400
local tuesday_noon, tuesday_night = tuesday + 11 * 3600, tuesday + 21 * 3600

function test_free_gets_no_big_model()
  expect(admit(request { model = "llama-70b", tier = "free" })).denied(403, "model_not_in_tier")
  expect(admit(request { model = "llama-8b", tier = "free" })).allowed()
end

function test_free_has_short_prompts()
  expect(admit(request { model = "llama-8b", tier = "free", prompt = { tokens = 8001 } })).denied(413)
  expect(admit(request { model = "llama-8b", tier = "free", prompt = { tokens = 8000 } })).allowed()
end

function test_answers_are_shorter_by_day()
  expect(admit(request { model = "llama-8b", tier = "free", time = tuesday_noon })).max_output(1024)
  expect(admit(request { model = "llama-8b", tier = "free", time = tuesday_night })).max_output(2048)
end

function test_premium_goes_first()
  expect(admit(request { model = "llama-70b", tier = { name = "premium", priority = 5 } })).allowed().priority(15)
end

function test_other_tiers_have_their_own_terms()
  expect(admit(request { tier = "research" })).equals(nil)
end
