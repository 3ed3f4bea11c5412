-- SPDX-License-Identifier: Apache-2.0
-- llama.cpp's server. Options of a model:
--   binary       program, or a list of program and first arguments; default "llama-server"
--   args         list of further arguments
--   parallel     slots; default: the model's concurrency
--   context      tokens of context in all; default: the model's context for each slot
--   unix_socket  false: listen on TCP
return {
  name = "llamacpp",
  summary = "llama.cpp server",
  health = "/health",
  metrics = "/metrics",
  unix_socket = true,
  usage_option = true,
  usage_running = false,
  usage_of_one = true,
  full = { 503 },
  -- Power over the server, or over other tenants' requests: not for clients.
  strip = { "id_slot", "cache_prompt", "lora", "grammar", "n_predict", "n_cmpl", "ignore_eos" },
  -- Not messages, though it has them: streams whose first token is half a character come without message_start, and so
  -- without the prompt's tokens. They are translated to chat, which counts them always.
  doors = { "chat", "completions", "embeddings", "responses", "rerank", "count_tokens" },
  keepalive = "4s",
  -- First guess of its speed in milliseconds, a small model on a small machine; what is seen puts it right.
  step = { base = 20, prefill = 1, quadratic = 1.0e-5, sequence = 5, context = 100e-6 },
  close_after_stream = true, -- whatever its Keep-Alive header says
  requires = { weights = "a GGUF file" },

  command = function(model, replica, listen)
    local options = model.options
    local parallel = options.parallel or model.concurrency
    local argv = {}
    local binary = options.binary or "llama-server"
    if type(binary) == "string" then binary = { binary } end
    if type(binary) ~= "table" then error("option binary: expected a text or a list of texts", 0) end
    if type(options.args or {}) ~= "table" then error("option args: expected a list", 0) end
    for _, word in ipairs(binary) do table.insert(argv, word) end

    table.insert(argv, "-m")
    table.insert(argv, model.weights)
    if listen.unix then
      table.insert(argv, "--host")
      table.insert(argv, listen.unix)
    else
      table.insert(argv, "--host")
      table.insert(argv, listen.host)
      table.insert(argv, "--port")
      table.insert(argv, listen.port)
    end
    table.insert(argv, "--alias")
    table.insert(argv, model.served_name)
    table.insert(argv, "-np")
    table.insert(argv, parallel)
    local context = options.context or (model.context > 0 and model.context * parallel)
    if context then
      table.insert(argv, "-c")
      table.insert(argv, context)
    end
    table.insert(argv, "--metrics")
    for _, word in ipairs(options.args or {}) do table.insert(argv, word) end
    return argv, {}
  end,
}
