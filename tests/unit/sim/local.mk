# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/sim/test_trace tests/unit/sim/test_cluster tests/unit/sim/test_events
tests_unit_sim_test_trace_SOURCES = tests/unit/sim/test_trace.c
tests_unit_sim_test_trace_CFLAGS = $(UNIT_CFLAGS)
tests_unit_sim_test_trace_LDADD = core/sim/libsim.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
tests_unit_sim_test_cluster_SOURCES = tests/unit/sim/test_cluster.c
tests_unit_sim_test_cluster_CFLAGS = $(UNIT_CFLAGS)
tests_unit_sim_test_cluster_LDADD = core/sim/libsim.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
tests_unit_sim_test_events_SOURCES = tests/unit/sim/test_events.c
tests_unit_sim_test_events_CFLAGS = $(UNIT_CFLAGS)
tests_unit_sim_test_events_LDADD = core/sim/libsim.a $(CRITERION_LIBS)
check_PROGRAMS += tests/unit/sim/test_replay
tests_unit_sim_test_replay_SOURCES = tests/unit/sim/test_replay.c
tests_unit_sim_test_replay_CFLAGS = $(UNIT_CFLAGS)
tests_unit_sim_test_replay_LDADD = core/sim/libsim.a core/lease/liblease.a core/base/libbase.a $(CRITERION_LIBS) \
	$(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/sim/test_routing
tests_unit_sim_test_routing_SOURCES = tests/unit/sim/test_routing.c tests/unit/sim/test_engine.c tests/unit/sim/test_workload.c
tests_unit_sim_test_routing_CFLAGS = $(UNIT_CFLAGS)
tests_unit_sim_test_routing_LDADD = core/sim/libsim.a core/route/libroute.a core/base/libbase.a $(CRITERION_LIBS) \
	$(JANSSON_LIBS) $(CRYPTO_LIBS) -lm
