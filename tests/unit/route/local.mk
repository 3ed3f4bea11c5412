# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/route/test_route
tests_unit_route_test_route_SOURCES = tests/unit/route/test_route.c tests/unit/route/test_prefix.c tests/unit/route/test_cost.c
tests_unit_route_test_route_CFLAGS = $(UNIT_CFLAGS)
tests_unit_route_test_route_LDADD = core/route/libroute.a core/base/libbase.a $(CRITERION_LIBS) $(CRYPTO_LIBS) -lm
