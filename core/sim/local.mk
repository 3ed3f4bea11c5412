# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/sim/libsim.a
core_sim_libsim_a_SOURCES = \
	core/sim/cluster.c core/sim/cluster.h \
	core/sim/csv.c core/sim/csv.h \
	core/sim/events.c core/sim/events.h \
	core/sim/replay.c core/sim/replay.h core/sim/replay_inner.h core/sim/replay_count.c core/sim/replay_round.c \
	core/sim/shape.c core/sim/shape.h \
	core/sim/trace.c core/sim/trace.h
