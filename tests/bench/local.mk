# SPDX-License-Identifier: Apache-2.0
# race.py and count.py build load and engine themselves, as neither is needed in a plain build.
EXTRA_DIST += tests/bench/engine.c tests/bench/load.c
dist_noinst_SCRIPTS += tests/bench/race.py tests/bench/count.py tests/bench/kueue.py tests/bench/routing.py
noinst_PROGRAMS += tests/bench/bench_placement tests/bench/bench_departures
placement_bench_libs = plugins/scheduler/fair/libplacement.a core/sim/libsim.a core/base/libbase.a $(JANSSON_LIBS) \
	$(CRYPTO_LIBS) -lm
tests_bench_bench_placement_SOURCES = tests/bench/bench_placement.c \
	tests/bench/bench_trace.c tests/bench/bench_trace.h tests/bench/placement_rules.c tests/bench/placement_rules.h
tests_bench_bench_placement_LDADD = $(placement_bench_libs)
tests_bench_bench_departures_SOURCES = tests/bench/bench_departures.c \
	tests/bench/bench_trace.c tests/bench/bench_trace.h tests/bench/placement_rules.c tests/bench/placement_rules.h
tests_bench_bench_departures_LDADD = $(placement_bench_libs)
