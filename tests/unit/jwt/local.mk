# SPDX-License-Identifier: Apache-2.0
if ENABLE_AUTH_JWT
check_PROGRAMS += tests/unit/jwt/test_parts tests/unit/jwt/test_claims tests/unit/jwt/test_plugin
noinst_HEADERS += tests/unit/jwt/issue.h
tests_unit_jwt_test_parts_SOURCES = tests/unit/jwt/test_parts.c $(jwt_parts)
tests_unit_jwt_test_parts_CFLAGS = $(UNIT_CFLAGS) $(AUTH_JWT_CFLAGS)
tests_unit_jwt_test_parts_LDADD = $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
tests_unit_jwt_test_claims_SOURCES = tests/unit/jwt/test_claims.c $(jwt_parts)
tests_unit_jwt_test_claims_CFLAGS = $(UNIT_CFLAGS) $(AUTH_JWT_CFLAGS)
tests_unit_jwt_test_claims_LDADD = $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
tests_unit_jwt_test_plugin_SOURCES = tests/unit/jwt/test_plugin.c
tests_unit_jwt_test_plugin_CFLAGS = $(UNIT_CFLAGS)
tests_unit_jwt_test_plugin_LDADD = $(plugin_test_libs)
endif
