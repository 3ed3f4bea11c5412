# SPDX-License-Identifier: Apache-2.0
include tests/unit/gateway/body.mk
check_PROGRAMS += tests/unit/gateway/test_edit
tests_unit_gateway_test_edit_SOURCES = tests/unit/gateway/test_edit.c
tests_unit_gateway_test_edit_CFLAGS = $(UNIT_CFLAGS)
tests_unit_gateway_test_edit_LDADD = core/gateway/libgateway.a core/gateway/libmessages.a core/gateway/libbody.a core/base/libbase.a $(CRITERION_LIBS) \
	$(UV_LIBS) $(JANSSON_LIBS)
