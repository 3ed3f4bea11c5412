# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/quota/libquota.a
core_quota_libquota_a_SOURCES = \
	core/quota/counter.c core/quota/counter.h \
	core/quota/grow.c \
	core/quota/quota.c core/quota/quota.h \
	core/quota/table.c core/quota/table.h
