# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/sandbox/libsandbox.a
core_sandbox_libsandbox_a_SOURCES = \
	core/sandbox/bounded.c \
	core/sandbox/file.c \
	core/sandbox/internal.h \
	core/sandbox/library.c \
	core/sandbox/sandbox.c core/sandbox/sandbox.h
