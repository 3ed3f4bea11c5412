# SPDX-License-Identifier: Apache-2.0
# The plugin takes these sources as its own; tests and benches link the library.
placement_sources = plugins/scheduler/fair/placement.c plugins/scheduler/fair/placement_mix.c \
	plugins/scheduler/fair/placement.h plugins/scheduler/fair/placement_private.h
noinst_LIBRARIES += plugins/scheduler/fair/libplacement.a
plugins_scheduler_fair_libplacement_a_SOURCES = $(placement_sources)
