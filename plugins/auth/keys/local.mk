# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/auth/keys/README.md
if ENABLE_AUTH_KEYS
authplugin_LTLIBRARIES += plugins/auth/keys/keys.la
plugins_auth_keys_keys_la_SOURCES = plugins/auth/keys/keys.c plugins/auth/keys/sha256.c plugins/auth/keys/sha256.h
plugins_auth_keys_keys_la_CFLAGS = $(AM_CFLAGS) $(AUTH_KEYS_CFLAGS)
plugins_auth_keys_keys_la_LDFLAGS = $(plugin_ldflags)
plugins_auth_keys_keys_la_LIBADD = $(AUTH_KEYS_LIBS)
endif
