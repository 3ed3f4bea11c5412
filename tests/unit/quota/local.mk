# SPDX-License-Identifier: Apache-2.0
QUOTA_LIBS = core/quota/libquota.a core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/quota/test_quota tests/unit/quota/test_quota_threads
tests_unit_quota_test_quota_SOURCES = tests/unit/quota/test_quota.c
tests_unit_quota_test_quota_CFLAGS = $(UNIT_CFLAGS)
tests_unit_quota_test_quota_LDADD = $(QUOTA_LIBS) $(CRITERION_LIBS)
tests_unit_quota_test_quota_threads_SOURCES = tests/unit/quota/test_quota_threads.c
tests_unit_quota_test_quota_threads_LDADD = $(QUOTA_LIBS)
