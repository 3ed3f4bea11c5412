# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/base/test_base
tests_unit_base_test_base_SOURCES = tests/unit/base/test_base.c
tests_unit_base_test_base_CFLAGS = $(UNIT_CFLAGS)
tests_unit_base_test_base_LDADD = core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
