# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += docs/sluice-plugin.7 docs/sluice-doors.7
dist_man_MANS += docs/sluice.lua.5 docs/sluice-policy.5 docs/sluice-engine.5
dist_man_MANS += docs/sluice-agent.8
dist_man_MANS += docs/sluiced.8
EXTRA_DIST += \
	docs/internals/agent-protocol.md \
	docs/internals/control-api.md \
	docs/internals/leases.md \
	docs/internals/ledger.md \
	docs/internals/rooms.md \
	docs/internals/routing-simulator.md
