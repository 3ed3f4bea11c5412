# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/identity/test_identity tests/unit/identity/test_identity_threads
tests_unit_identity_test_identity_SOURCES = tests/unit/identity/test_identity.c
tests_unit_identity_test_identity_CFLAGS = $(UNIT_CFLAGS)
tests_unit_identity_test_identity_LDADD = core/identity/libidentity.a core/base/libbase.a $(CRITERION_LIBS) \
	$(JANSSON_LIBS) $(CRYPTO_LIBS)
tests_unit_identity_test_identity_threads_SOURCES = tests/unit/identity/test_identity_threads.c
tests_unit_identity_test_identity_threads_LDADD = core/identity/libidentity.a core/base/libbase.a $(JANSSON_LIBS) \
	$(CRYPTO_LIBS)
