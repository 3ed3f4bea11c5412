# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += examples/sluice.lua examples/policies/tiers.lua
EXTRA_DIST += \
	examples/plugin/Makefile.example \
	examples/plugin/README.md \
	examples/plugin/office.c \
	examples/plugin/smallest.c
