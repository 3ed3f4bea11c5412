# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/loop/libloop.a
core_loop_libloop_a_SOURCES = \
	core/loop/frame.c core/loop/frame.h core/loop/frame_connection.c \
	core/loop/mailbox.c core/loop/mailbox.h
