# SPDX-License-Identifier: Apache-2.0
# race.py builds its load and its engine itself, as it needs neither of them in a plain build.
EXTRA_DIST += tests/bench/engine.c tests/bench/load.c
dist_noinst_SCRIPTS += tests/bench/race.py
noinst_PROGRAMS += tests/bench/bench_placement tests/bench/bench_departures
placement_bench_libs = plugins/scheduler/fair/libplacement.a core/sim/libsim.a core/base/libbase.a $(JANSSON_LIBS) \
	$(CRYPTO_LIBS) -lm
tests_bench_bench_placement_SOURCES = tests/bench/bench_placement.c \
	tests/bench/placement_rules.c tests/bench/placement_rules.h
tests_bench_bench_placement_LDADD = $(placement_bench_libs)
tests_bench_bench_departures_SOURCES = tests/bench/bench_departures.c \
	tests/bench/placement_rules.c tests/bench/placement_rules.h
tests_bench_bench_departures_LDADD = $(placement_bench_libs)
