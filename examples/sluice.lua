-- SPDX-License-Identifier: Apache-2.0
-- A site with four GPUs: one model that sluice runs, one that runs elsewhere, two groups. See sluice.lua(5).
--   sluiced --check --config examples/sluice.lua

-- Where clients come in. Give it a name behind a TLS proxy before it leaves this machine.
listen "127.0.0.1:8080"
-- Metrics for Prometheus, without a key.
metrics "127.0.0.1:9090"

-- The web page, for people with a key. Give it a name behind a TLS proxy, too: origin = "https://gpu.example.org"
page { listen = "127.0.0.1:8081" }

-- A client sees the end of an answer only when its record is on disk: nothing that was served is missing from a bill.
durability "held"
currency "EUR"

-- The site's rules. examples/policies/tiers.lua has tests, too: sluicectl policy test
policy { file = "policies/tiers.lua", on_error = "deny" }

limits { body = "8M", connections = 2048 }
log { level = "info", requests = true }

-- Devices. Simulated ones here: put the backend of your GPUs in its place (sluicectl plugin list).
plugin "backend/sim" {}
plugin "scheduler/fifo" {}

-- Where leases wait: people's jobs, and the replicas of models.
queue "research" { quota = 4, time = "4h", time_max = "24h" }
queue "models" { quota = 2, priority = 10 }

-- What a lease pays for each GPU, from its program's start until the device is given back. Replicas pay nothing: their
-- callers pay for tokens.
kind "default" { gpu_hour = 1.20 }
kind "h100-80g" { gpu_hour = 2.50 }

-- A model that sluice starts when somebody asks for it, and stops ten minutes after the last request.
model "llama-8b" {
  engine = "vllm",
  weights = "/srv/models/llama-8b",
  aliases = { "small" },
  gpus = 1,
  memory = "40G",
  queue = "models",
  replicas = { min = 0, max = 2 },
  idle = "10m",
  concurrency = 32,
  context = 32768,
  max_output = 2048,
  price = { input = 0.10, cached = 0.02, output = 0.40 }, -- EUR per million tokens
}

-- A model that runs already. A key would stand in the environment: key = "env:REMOTE_KEY"
model "llama-70b" {
  endpoints = {
    "http://127.0.0.1:9000",
    { url = "http://127.0.0.1:9001", concurrency = 4 },
  },
  concurrency = 16,
  price = { input = "0.60", output = "1.80" },
}

-- Terms.
tier "free" {
  models = { "llama-8b" },
  requests = { { 20, per = "minute" }, { 2000, per = "day", scope = "tenant" } },
  tokens = { 20000, per = "minute" },
  concurrency = 4,
}
tier "premium" {
  tokens = { 500000, per = "minute", scope = "tenant" },
  cost = { 500, per = "month", scope = "tenant" },
  priority = 5,
}

-- People with a token of the site's identity provider, beside those with a key. Its tenants are those below.
-- plugin "auth/jwt" {
--   issuer = "https://id.example.com", audience = "sluice",
--   tenant_claim = "groups", tenants = { ["phys-ml"] = "physics", ["*"] = "students" },
-- }
-- plugin "auth/keys" {}
-- plugin "auth/peercred" {}

-- Who calls. Keys are made with sluicectl keys create, not here.
tenant "physics" { tier = "premium", users = { "dana", "eve" }, queues = { "research" } }
tenant "students" { tier = "free" }
tenant "staff" { tier = "premium", users = { "root" }, queues = { "research", "models" }, operators = true }

-- More of the same in files of their own:
-- include "conf.d/*.lua"
