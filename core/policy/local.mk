# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/policy/libpolicy.a
core_policy_libpolicy_a_SOURCES = \
	core/policy/decide.c \
	core/policy/eval.c \
	core/policy/internal.h \
	core/policy/lease.c \
	core/policy/limit.c \
	core/policy/names.c \
	core/policy/policy.c core/policy/policy.h \
	core/policy/tests.c \
	core/policy/view.c \
	core/policy/world.c
