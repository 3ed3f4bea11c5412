# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/fair/test_placement
tests_unit_fair_test_placement_SOURCES = tests/unit/fair/test_placement.c
tests_unit_fair_test_placement_CFLAGS = $(UNIT_CFLAGS)
tests_unit_fair_test_placement_LDADD = plugins/scheduler/fair/libplacement.a $(CRITERION_LIBS) -lm
check_PROGRAMS += tests/unit/fair/test_place
tests_unit_fair_test_place_SOURCES = tests/unit/fair/test_place.c
tests_unit_fair_test_place_CFLAGS = $(UNIT_CFLAGS)
tests_unit_fair_test_place_LDADD = core/plugin/libplugin.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) \
	$(CRYPTO_LIBS) $(XXHASH_LIBS)
