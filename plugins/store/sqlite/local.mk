# SPDX-License-Identifier: Apache-2.0
if ENABLE_STORE_SQLITE
storeplugin_LTLIBRARIES += plugins/store/sqlite/sqlite.la
plugins_store_sqlite_sqlite_la_SOURCES = \
	plugins/store/sqlite/bill.c \
	plugins/store/sqlite/fold.c \
	plugins/store/sqlite/plugin.c \
	plugins/store/sqlite/query.c \
	plugins/store/sqlite/seal.c \
	plugins/store/sqlite/sqlite.h \
	plugins/store/sqlite/write.c
plugins_store_sqlite_sqlite_la_CFLAGS = $(AM_CFLAGS) $(STORE_SQLITE_CFLAGS)
plugins_store_sqlite_sqlite_la_LDFLAGS = $(plugin_ldflags)
plugins_store_sqlite_sqlite_la_LIBADD = $(STORE_SQLITE_LIBS)
endif
EXTRA_DIST += plugins/store/sqlite/README.md
