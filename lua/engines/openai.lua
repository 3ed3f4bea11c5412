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
  strip = {},
  keepalive = "4s",
}
