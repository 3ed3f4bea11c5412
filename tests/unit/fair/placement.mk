# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/fair/test_placement
tests_unit_fair_test_placement_SOURCES = tests/unit/fair/test_placement.c
tests_unit_fair_test_placement_CFLAGS = $(UNIT_CFLAGS)
tests_unit_fair_test_placement_LDADD = plugins/scheduler/fair/libplacement.a $(CRITERION_LIBS) -lm
