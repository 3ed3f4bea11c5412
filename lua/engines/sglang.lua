-- SPDX-License-Identifier: Apache-2.0
-- SGLang. Options of a model:
--   binary  program, or a list of program and first arguments; default { "python3", "-m", "sglang.launch_server" }
--   args    list of further arguments
return {
  name = "sglang",
  summary = "SGLang",
  health = "/health",
  metrics = "/metrics",
  unix_socket = false,
  usage_option = true,
  usage_running = true,
  full = { 503, 429 },
  -- Power over the server, or over other tenants' requests: not for clients.
  strip = {
    "priority", "lora_path", "rid", "session_params", "custom_logit_processor", "chat_template", "ignore_eos",
    "bootstrap_host", "bootstrap_port", "bootstrap_room", "data_parallel_rank", "cache_salt", "request_id",
  },
  -- messages are translated to chat, which all of its versions speak.
  doors = { "chat", "completions", "embeddings", "responses", "rerank", "score" },
  keepalive = "4s", -- the server closes idle connections after 5 s
  -- First guess of its speed in milliseconds, an 8B model on one large GPU; what is seen puts it right.
  step = { base = 7, prefill = 0.0285, quadratic = 1.0e-6, sequence = 0.012, context = 50e-6 },
  requires = { weights = "a folder or a name" },

  command = function(model, replica, listen)
    local options = model.options
    local argv = {}
    local binary = options.binary or { "python3", "-m", "sglang.launch_server" }
    if type(binary) == "string" then binary = { binary } end
    if type(binary) ~= "table" then error("option binary: expected a text or a list of texts", 0) end
    if type(options.args or {}) ~= "table" then error("option args: expected a list", 0) end
    for _, word in ipairs(binary) do table.insert(argv, word) end

    if not listen.port then error("SGLang cannot listen on a Unix socket", 0) end
    table.insert(argv, "--model-path")
    table.insert(argv, model.weights)
    table.insert(argv, "--host")
    table.insert(argv, listen.host)
    table.insert(argv, "--port")
    table.insert(argv, listen.port)
    table.insert(argv, "--served-model-name")
    table.insert(argv, model.served_name)
    if model.context > 0 then
      table.insert(argv, "--context-length")
      table.insert(argv, model.context)
    end
    if model.gpus > 1 then
      table.insert(argv, "--tp")
      table.insert(argv, model.gpus)
    end
    table.insert(argv, "--max-running-requests")
    table.insert(argv, model.concurrency)
    table.insert(argv, "--enable-metrics")
    table.insert(argv, "--enable-cache-report")
    for _, word in ipairs(options.args or {}) do table.insert(argv, word) end
    return argv, {}
  end,
}
