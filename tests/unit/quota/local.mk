# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/quota/test_quota_threads
tests_unit_quota_test_quota_threads_SOURCES = tests/unit/quota/test_quota_threads.c
tests_unit_quota_test_quota_threads_LDADD = core/quota/libquota.a core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS)
