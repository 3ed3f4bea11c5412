# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/conf/test_conf
tests_unit_conf_test_conf_SOURCES = tests/unit/conf/test_conf.c tests/unit/conf/test_engine.c \
	tests/unit/conf/test_show.c tests/unit/conf/fixture.c tests/unit/conf/fixture.h
tests_unit_conf_test_conf_CPPFLAGS = $(AM_CPPFLAGS) -DTOP_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_conf_test_conf_CFLAGS = $(UNIT_CFLAGS)
tests_unit_conf_test_conf_LDADD = core/conf/libconf.a core/sandbox/libsandbox.a core/base/libbase.a \
	$(CRITERION_LIBS) $(LUA_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
