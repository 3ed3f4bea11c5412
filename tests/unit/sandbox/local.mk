# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/sandbox/test_sandbox
tests_unit_sandbox_test_sandbox_SOURCES = tests/unit/sandbox/test_sandbox.c
tests_unit_sandbox_test_sandbox_CFLAGS = $(UNIT_CFLAGS)
tests_unit_sandbox_test_sandbox_LDADD = core/sandbox/libsandbox.a core/base/libbase.a \
	$(CRITERION_LIBS) $(LUA_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
