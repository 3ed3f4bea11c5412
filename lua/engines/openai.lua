-- SPDX-License-Identifier: Apache-2.0
-- Any server that speaks OpenAI's API and runs already. It has no command: name its endpoints in the model.
return {
  name = "openai",
  summary = "a server with OpenAI's API that runs already",
  health = "/v1/models",
  unix_socket = true,
  usage_option = true,
  usage_running = false,
  full = { 503, 429 },
  -- Nobody knows which server it is: what any of them takes as power over itself, or over other tenants' requests.
  strip = {
    "priority", "cache_salt", "request_id", "rid", "kv_transfer_params", "ec_transfer_params", "vllm_xargs", "chat_template",
    "mm_processor_kwargs", "media_io_kwargs", "ignore_eos", "use_beam_search", "prompt_embeds", "data_parallel_rank",
    "lora", "lora_path", "session_params", "custom_logit_processor", "bootstrap_host", "bootstrap_port", "bootstrap_room",
    "id_slot", "cache_prompt", "n_predict", "n_cmpl", "previous_input_messages",
  },
  -- What every such server has. Where yours has more, copy this file and say so: messages are passed on then, not
  -- translated to chat.
  doors = { "chat", "completions", "embeddings" },
  keepalive = "4s",
}
