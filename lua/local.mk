# SPDX-License-Identifier: Apache-2.0
sluicelua_DATA = lua/policy.lua lua/sluice.lua
sluiceenginesdir = $(sluiceluadir)/engines
sluiceengines_DATA = \
	lua/engines/llamacpp.lua \
	lua/engines/openai.lua \
	lua/engines/sglang.lua \
	lua/engines/vllm.lua
EXTRA_DIST += $(sluicelua_DATA) $(sluiceengines_DATA)
