# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/auth/jwt/README.md
# What looks at bytes from outside, without threads and network: tests and the fuzz target link these alone.
jwt_parts = \
	plugins/auth/jwt/cache.c plugins/auth/jwt/cache.h \
	plugins/auth/jwt/claims.c plugins/auth/jwt/claims.h \
	plugins/auth/jwt/jwks.c plugins/auth/jwt/jwks.h \
	plugins/auth/jwt/refusal.h \
	plugins/auth/jwt/settings.c \
	plugins/auth/jwt/token.c plugins/auth/jwt/token.h
if ENABLE_AUTH_JWT
authplugin_LTLIBRARIES += plugins/auth/jwt/jwt.la
plugins_auth_jwt_jwt_la_SOURCES = $(jwt_parts) \
	plugins/auth/jwt/fetch.c plugins/auth/jwt/fetch.h \
	plugins/auth/jwt/jwt.c \
	plugins/auth/jwt/source.c plugins/auth/jwt/source.h
plugins_auth_jwt_jwt_la_CFLAGS = $(AM_CFLAGS) $(AUTH_JWT_CFLAGS)
plugins_auth_jwt_jwt_la_LDFLAGS = $(plugin_ldflags)
plugins_auth_jwt_jwt_la_LIBADD = $(AUTH_JWT_LIBS)
endif
