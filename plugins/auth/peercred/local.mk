# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/auth/peercred/README.md
if ENABLE_AUTH_PEERCRED
authplugin_LTLIBRARIES += plugins/auth/peercred/peercred.la
plugins_auth_peercred_peercred_la_SOURCES = plugins/auth/peercred/peercred.c
plugins_auth_peercred_peercred_la_LDFLAGS = $(plugin_ldflags)
endif
