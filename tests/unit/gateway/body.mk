# SPDX-License-Identifier: Apache-2.0
body_tests_libs = core/gateway/libbody.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/gateway/test_body tests/unit/gateway/test_body_json tests/unit/gateway/test_body_event
tests_unit_gateway_test_body_SOURCES = tests/unit/gateway/test_body.c
tests_unit_gateway_test_body_CFLAGS = $(UNIT_CFLAGS)
tests_unit_gateway_test_body_LDADD = $(body_tests_libs)
tests_unit_gateway_test_body_json_SOURCES = tests/unit/gateway/test_body_json.c
tests_unit_gateway_test_body_json_CFLAGS = $(UNIT_CFLAGS)
tests_unit_gateway_test_body_json_LDADD = $(body_tests_libs)
tests_unit_gateway_test_body_event_SOURCES = tests/unit/gateway/test_body_event.c
tests_unit_gateway_test_body_event_CFLAGS = $(UNIT_CFLAGS)
tests_unit_gateway_test_body_event_LDADD = $(body_tests_libs)
