# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/sim/libsim.a
core_sim_libsim_a_SOURCES = \
	core/sim/blocks.c core/sim/blocks.h \
	core/sim/capacity.c \
	core/sim/cluster.c core/sim/cluster.h \
	core/sim/csv.c core/sim/csv.h \
	core/sim/engine.c core/sim/engine.h \
	core/sim/events.c core/sim/events.h \
	core/sim/fleet.c core/sim/fleet.h \
	core/sim/prompt.c core/sim/prompt.h \
	core/sim/recipe.c \
	core/sim/replay.c core/sim/replay.h core/sim/replay_inner.h core/sim/replay_count.c core/sim/replay_round.c \
	core/sim/router.c core/sim/router.h \
	core/sim/router_peer.c \
	core/sim/router_route.c \
	core/sim/routing.c core/sim/routing.h \
	core/sim/shape.c core/sim/shape.h \
	core/sim/tally.c core/sim/tally.h \
	core/sim/trace.c core/sim/trace.h \
	core/sim/workload.c core/sim/workload.h
