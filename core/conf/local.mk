# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/conf/libconf.a
core_conf_libconf_a_SOURCES = \
	core/conf/check.c \
	core/conf/conf.c core/conf/conf.h \
	core/conf/declare.c \
	core/conf/engine.c \
	core/conf/fields.c \
	core/conf/internal.h \
	core/conf/limits.c core/conf/limits.h \
	core/conf/load.c \
	core/conf/lua_json.c \
	core/conf/read.c \
	core/conf/requires.c \
	core/conf/show.c \
	core/conf/values.c
