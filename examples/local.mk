# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += examples/sluice.lua examples/policies/leases.lua examples/policies/tiers.lua
dist_noinst_SCRIPTS += examples/quickstart.sh examples/quickstart/llama_server.py \
	examples/quickstart/stop.py examples/quickstart/tiny_model.py
EXTRA_DIST += \
	examples/plugin/Makefile.example \
	examples/plugin/README.md \
	examples/plugin/office.c \
	examples/plugin/smallest.c
