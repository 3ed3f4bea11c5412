-- SPDX-License-Identifier: Apache-2.0
-- vLLM. Options of a model:
--   binary       program, or a list of program and first arguments; default "vllm"
--   args         list of further arguments
--   env          table of environment variables, such as HOME, where vLLM keeps its caches
--   unix_socket  false: listen on TCP
return {
  name = "vllm",
  summary = "vLLM",
  health = "/health",
  metrics = "/metrics",
  unix_socket = true,
  usage_option = true,
  usage_running = true,
  full = { 503, 429 },
  -- Power over the engine, or over other tenants' requests: not for clients.
  strip = {
    "priority", "cache_salt", "request_id", "kv_transfer_params", "ec_transfer_params", "vllm_xargs",
    "chat_template", "mm_processor_kwargs", "media_io_kwargs", "ignore_eos", "use_beam_search", "prompt_embeds",
    "data_parallel_rank", "previous_input_messages",
  },
  doors = { "chat", "completions", "embeddings", "responses", "rerank", "score", "messages", "count_tokens" },
  keepalive = "4s",
  -- First guess of its speed in milliseconds, an 8B model on one large GPU; what is seen puts it right.
  step = { base = 7, prefill = 0.0285, quadratic = 1.0e-6, sequence = 0.012, context = 50e-6 },
  requires = { weights = "a folder or a name" },

  command = function(model, replica, listen)
    local options = model.options
    local argv = {}
    local binary = options.binary or "vllm"
    if type(binary) == "string" then binary = { binary } end
    if type(binary) ~= "table" then error("option binary: expected a text or a list of texts", 0) end
    if type(options.args or {}) ~= "table" then error("option args: expected a list", 0) end
    for _, word in ipairs(binary) do table.insert(argv, word) end

    table.insert(argv, "serve")
    table.insert(argv, model.weights)
    if listen.unix then
      table.insert(argv, "--uds")
      table.insert(argv, listen.unix)
    else
      table.insert(argv, "--host")
      table.insert(argv, listen.host)
      table.insert(argv, "--port")
      table.insert(argv, listen.port)
    end
    table.insert(argv, "--served-model-name")
    table.insert(argv, model.served_name)
    if model.context > 0 then
      table.insert(argv, "--max-model-len")
      table.insert(argv, model.context)
    end
    if model.gpus > 1 then
      table.insert(argv, "--tensor-parallel-size")
      table.insert(argv, model.gpus)
    end
    table.insert(argv, "--max-num-seqs")
    table.insert(argv, model.concurrency)
    table.insert(argv, "--enable-prompt-tokens-details")
    for _, word in ipairs(options.args or {}) do table.insert(argv, word) end
    if type(options.env or {}) ~= "table" then error("option env: expected a table", 0) end
    local env = { VLLM_NO_USAGE_STATS = "1" }
    for name, value in pairs(options.env or {}) do env[name] = tostring(value) end
    return argv, env
  end,
}
