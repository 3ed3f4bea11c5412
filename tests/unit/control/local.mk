# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/control/test_control
tests_unit_control_test_control_SOURCES = tests/unit/control/test_control.c tests/unit/control/fakes.c tests/unit/control/fakes.h \
	tests/unit/control/door.c tests/unit/control/door.h tests/unit/tap.h
tests_unit_control_test_control_CPPFLAGS = $(AM_CPPFLAGS) -DTOP_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_control_test_control_CFLAGS = $(UNIT_CFLAGS)
tests_unit_control_test_control_LDADD = core/control/libcontrol.a core/ledger/libledger.a core/identity/libidentity.a \
	core/policy/libpolicy.a core/conf/libconf.a core/quota/libquota.a core/sandbox/libsandbox.a core/http/libhttp.a \
	core/loop/libloop.a core/base/libbase.a $(UV_LIBS) $(JANSSON_LIBS) $(LUA_LIBS) $(CRYPTO_LIBS) -lm

check_PROGRAMS += tests/unit/control/test_request
tests_unit_control_test_request_SOURCES = tests/unit/control/test_request.c
tests_unit_control_test_request_CFLAGS = $(UNIT_CFLAGS)
tests_unit_control_test_request_LDADD = core/control/libcontrol.a core/http/libhttp.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS)

check_PROGRAMS += tests/unit/control/test_session
tests_unit_control_test_session_SOURCES = tests/unit/control/test_session.c
tests_unit_control_test_session_CFLAGS = $(UNIT_CFLAGS)
tests_unit_control_test_session_LDADD = core/control/libcontrol.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
