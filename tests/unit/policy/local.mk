# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/policy/test_policy tests/unit/policy/test_policy_threads
tests_unit_policy_test_policy_SOURCES = tests/unit/policy/test_policy.c tests/unit/policy/test_tools.c \
	tests/unit/conf/fixture.c tests/unit/conf/fixture.h
tests_unit_policy_test_policy_CPPFLAGS = $(AM_CPPFLAGS) -DTOP_SRCDIR='"$(abs_top_srcdir)"' \
	-I$(top_srcdir)/tests/unit/conf
tests_unit_policy_test_policy_CFLAGS = $(UNIT_CFLAGS)
tests_unit_policy_test_policy_LDADD = core/policy/libpolicy.a core/conf/libconf.a core/sandbox/libsandbox.a \
	core/base/libbase.a $(CRITERION_LIBS) $(LUA_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)

tests_unit_policy_test_policy_threads_SOURCES = tests/unit/policy/test_policy_threads.c
tests_unit_policy_test_policy_threads_CPPFLAGS = $(AM_CPPFLAGS) -DTOP_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_policy_test_policy_threads_LDADD = core/policy/libpolicy.a core/conf/libconf.a core/sandbox/libsandbox.a \
	core/base/libbase.a $(LUA_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
