# SPDX-License-Identifier: Apache-2.0
pool_test_libs = core/pool/libpool.a core/lease/liblease.a core/quota/libquota.a core/loop/libloop.a core/base/libbase.a \
	$(CRITERION_LIBS) $(UV_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
pool_test_world = tests/unit/pool/harness.c tests/unit/pool/harness.h plugins/scheduler/fifo/fifo.c
check_PROGRAMS += tests/unit/pool/test_pool
tests_unit_pool_test_pool_SOURCES = tests/unit/pool/test_pool.c $(pool_test_world)
tests_unit_pool_test_pool_CFLAGS = $(UNIT_CFLAGS)
tests_unit_pool_test_pool_LDADD = $(pool_test_libs)
check_PROGRAMS += tests/unit/pool/test_watch
tests_unit_pool_test_watch_SOURCES = tests/unit/pool/test_watch.c $(pool_test_world)
tests_unit_pool_test_watch_CFLAGS = $(UNIT_CFLAGS)
tests_unit_pool_test_watch_LDADD = $(pool_test_libs)
check_PROGRAMS += tests/unit/pool/test_liar
tests_unit_pool_test_liar_SOURCES = tests/unit/pool/test_liar.c $(pool_test_world)
tests_unit_pool_test_liar_CFLAGS = $(UNIT_CFLAGS)
tests_unit_pool_test_liar_LDADD = $(pool_test_libs)
check_PROGRAMS += tests/unit/pool/test_bounds
tests_unit_pool_test_bounds_SOURCES = tests/unit/pool/test_bounds.c $(pool_test_world)
tests_unit_pool_test_bounds_CFLAGS = $(UNIT_CFLAGS)
tests_unit_pool_test_bounds_LDADD = $(pool_test_libs)
check_PROGRAMS += tests/unit/pool/test_budget
tests_unit_pool_test_budget_SOURCES = tests/unit/pool/test_budget.c $(pool_test_world)
tests_unit_pool_test_budget_CFLAGS = $(UNIT_CFLAGS)
tests_unit_pool_test_budget_LDADD = $(pool_test_libs)
check_PROGRAMS += tests/unit/pool/test_pause
tests_unit_pool_test_pause_SOURCES = tests/unit/pool/test_pause.c $(pool_test_world)
tests_unit_pool_test_pause_CFLAGS = $(UNIT_CFLAGS)
tests_unit_pool_test_pause_LDADD = $(pool_test_libs)
