# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/loop/libloop.a
core_loop_libloop_a_SOURCES = core/loop/mailbox.c core/loop/mailbox.h
