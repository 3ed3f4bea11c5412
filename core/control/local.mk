# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/control/libcontrol.a
core_control_libcontrol_a_SOURCES = \
	core/control/admin.c \
	core/control/answer.c \
	core/control/auth.c \
	core/control/call.c \
	core/control/control.c core/control/control.h core/control/inner.h \
	core/control/devices.c \
	core/control/events.c \
	core/control/focus.c core/control/focus.h core/control/focus_csv.c \
	core/control/leases.c \
	core/control/lease_list.c core/control/lease_logs.c \
	core/control/ledger.c \
	core/control/limits.c \
	core/control/models.c \
	core/control/objects.c \
	core/control/page.c \
	core/control/page_files.c core/control/page_files.h \
	core/control/play.c \
	core/control/query.c \
	core/control/request.c \
	core/control/session.c core/control/session.h \
	core/control/sign_in.c \
	core/control/status.c \
	core/control/stream.c \
	core/control/table.c \
	core/control/usage.c
