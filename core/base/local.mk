# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/base/libbase.a
core_base_libbase_a_SOURCES = \
	core/base/arena.c core/base/arena.h \
	core/base/base64.c core/base/base64.h \
	core/base/buf.c core/base/buf.h \
	core/base/clock.c core/base/clock.h \
	core/base/error.c core/base/error.h \
	core/base/hash.c core/base/hash.h \
	core/base/index.c core/base/index.h \
	core/base/json.c core/base/json.h \
	core/base/log.c core/base/log.h \
	core/base/metrics.c core/base/metrics.h \
	core/base/money.c core/base/money.h \
	core/base/notify.c core/base/notify.h \
	core/base/path.c core/base/path.h \
	core/base/str.c core/base/str.h \
	core/base/text.h
