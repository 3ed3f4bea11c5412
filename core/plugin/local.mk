# SPDX-License-Identifier: Apache-2.0
# Whoever links this needs -ldl before glibc 2.34, and the jansson and libcrypto of the base room.
noinst_LIBRARIES += core/plugin/libplugin.a
core_plugin_libplugin_a_SOURCES = \
	core/plugin/conform.c core/plugin/conform.h core/plugin/conform_backend.c \
	core/plugin/descriptor.c \
	core/plugin/file.c \
	core/plugin/host.c \
	core/plugin/inspect.c \
	core/plugin/kinds.c \
	core/plugin/options.c \
	core/plugin/plugin.c core/plugin/plugin.h core/plugin/plugin_private.h \
	core/plugin/refuse.c \
	core/plugin/tokens.c
