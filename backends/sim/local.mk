# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += backends/sim/README.md
if ENABLE_BACKEND_SIM
backendplugin_LTLIBRARIES += backends/sim/sim.la
backends_sim_sim_la_SOURCES = backends/sim/calls.c backends/sim/sim.c backends/sim/sim.h
backends_sim_sim_la_LDFLAGS = $(plugin_ldflags)
backends_sim_sim_la_LIBADD = $(JANSSON_LIBS)
endif
