# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/fleet/libfleet.a
core_fleet_libfleet_a_SOURCES = \
	core/fleet/decide.c core/fleet/decide.h \
	core/fleet/failure.c \
	core/fleet/fleet.c core/fleet/fleet.h core/fleet/inner.h \
	core/fleet/health.c \
	core/fleet/listen.c \
	core/fleet/models.c \
	core/fleet/note.c \
	core/fleet/replica.c \
	core/fleet/views.c
