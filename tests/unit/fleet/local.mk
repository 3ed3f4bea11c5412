# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/fleet/test_decide
tests_unit_fleet_test_decide_SOURCES = tests/unit/fleet/test_decide.c
tests_unit_fleet_test_decide_CFLAGS = $(UNIT_CFLAGS)
tests_unit_fleet_test_decide_LDADD = core/fleet/libfleet.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/fleet/test_fleet
tests_unit_fleet_test_fleet_SOURCES = tests/unit/fleet/test_fleet.c tests/unit/fleet/fakes.c tests/unit/fleet/fakes.h
tests_unit_fleet_test_fleet_CFLAGS = $(UNIT_CFLAGS)
tests_unit_fleet_test_fleet_LDADD = core/fleet/libfleet.a core/route/libroute.a core/loop/libloop.a core/base/libbase.a \
	$(CRITERION_LIBS) $(UV_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
