# SPDX-License-Identifier: Apache-2.0
lease_test_libs = core/lease/liblease.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/lease/test_lease tests/unit/lease/test_plan
tests_unit_lease_test_lease_SOURCES = tests/unit/lease/test_lease.c
tests_unit_lease_test_lease_CFLAGS = $(UNIT_CFLAGS)
tests_unit_lease_test_lease_LDADD = $(lease_test_libs)
tests_unit_lease_test_plan_SOURCES = tests/unit/lease/test_plan.c
tests_unit_lease_test_plan_CFLAGS = $(UNIT_CFLAGS)
tests_unit_lease_test_plan_LDADD = $(lease_test_libs)
check_PROGRAMS += tests/unit/lease/test_charge
tests_unit_lease_test_charge_SOURCES = tests/unit/lease/test_charge.c
tests_unit_lease_test_charge_CFLAGS = $(UNIT_CFLAGS)
tests_unit_lease_test_charge_LDADD = $(lease_test_libs)

check_PROGRAMS += tests/unit/lease/test_fair
tests_unit_lease_test_fair_SOURCES = tests/unit/lease/test_fair.c
tests_unit_lease_test_fair_CFLAGS = $(UNIT_CFLAGS)
tests_unit_lease_test_fair_LDADD = core/lease/liblease.a core/plugin/libplugin.a core/base/libbase.a $(CRITERION_LIBS) \
	$(JANSSON_LIBS) $(CRYPTO_LIBS) $(XXHASH_LIBS)
