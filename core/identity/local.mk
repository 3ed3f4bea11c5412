# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/identity/libidentity.a
core_identity_libidentity_a_SOURCES = \
	core/identity/identity.c core/identity/identity.h \
	core/identity/internal.h \
	core/identity/issue.c \
	core/identity/keys.c \
	core/identity/roles.c \
	core/identity/tenants.c
