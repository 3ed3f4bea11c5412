# SPDX-License-Identifier: Apache-2.0
http_tests_libs = core/http/libhttp.a core/base/libbase.a $(UV_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/http/test_parse tests/unit/http/test_chunked tests/unit/http/test_sse \
	tests/unit/http/test_address tests/unit/http/test_server tests/unit/http/test_client
tests_unit_http_test_parse_SOURCES = tests/unit/http/test_parse.c
tests_unit_http_test_parse_CFLAGS = $(UNIT_CFLAGS)
tests_unit_http_test_parse_LDADD = $(http_tests_libs) $(CRITERION_LIBS)
tests_unit_http_test_chunked_SOURCES = tests/unit/http/test_chunked.c
tests_unit_http_test_chunked_CFLAGS = $(UNIT_CFLAGS)
tests_unit_http_test_chunked_LDADD = $(http_tests_libs) $(CRITERION_LIBS)
tests_unit_http_test_sse_SOURCES = tests/unit/http/test_sse.c
tests_unit_http_test_sse_CFLAGS = $(UNIT_CFLAGS)
tests_unit_http_test_sse_LDADD = $(http_tests_libs) $(CRITERION_LIBS)
tests_unit_http_test_address_SOURCES = tests/unit/http/test_address.c
tests_unit_http_test_address_CFLAGS = $(UNIT_CFLAGS)
tests_unit_http_test_address_LDADD = $(http_tests_libs) $(CRITERION_LIBS)
tests_unit_http_test_server_SOURCES = tests/unit/http/test_server.c tests/unit/tap.h
tests_unit_http_test_server_LDADD = $(http_tests_libs)
tests_unit_http_test_client_SOURCES = tests/unit/http/test_client.c tests/unit/tap.h
tests_unit_http_test_client_LDADD = $(http_tests_libs)
