# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/scheduler/fair/README.md
noinst_HEADERS += plugins/scheduler/fair/fair.h
if ENABLE_SCHEDULER_FAIR
schedulerplugin_LTLIBRARIES += plugins/scheduler/fair/fair.la
plugins_scheduler_fair_fair_la_SOURCES = plugins/scheduler/fair/fair.c plugins/scheduler/fair/serve.c \
	plugins/scheduler/fair/place.c plugins/scheduler/fair/pool.c plugins/scheduler/fair/width.c \
	$(placement_sources)
plugins_scheduler_fair_fair_la_CFLAGS = $(AM_CFLAGS)
plugins_scheduler_fair_fair_la_LDFLAGS = $(plugin_ldflags)
plugins_scheduler_fair_fair_la_LIBADD = -lm
endif
