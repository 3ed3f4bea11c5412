# SPDX-License-Identifier: Apache-2.0
noinst_PROGRAMS += tests/bench/bench_rooms tests/bench/bench_route
tests_bench_bench_rooms_SOURCES = tests/bench/bench_rooms.c
tests_bench_bench_rooms_LDADD = core/identity/libidentity.a core/ledger/libledger.a core/quota/libquota.a \
	core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS)
noinst_PROGRAMS += tests/bench/plan
tests_bench_plan_SOURCES = tests/bench/plan.c
tests_bench_plan_LDADD = -ldl
tests_bench_bench_route_SOURCES = tests/bench/bench_route.c
tests_bench_bench_route_LDADD = core/route/libroute.a core/base/libbase.a $(CRYPTO_LIBS) -lpthread
