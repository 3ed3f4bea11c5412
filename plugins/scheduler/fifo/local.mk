# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/scheduler/fifo/README.md
if ENABLE_SCHEDULER_FIFO
schedulerplugin_LTLIBRARIES += plugins/scheduler/fifo/fifo.la
plugins_scheduler_fifo_fifo_la_SOURCES = plugins/scheduler/fifo/fifo.c
plugins_scheduler_fifo_fifo_la_LDFLAGS = $(plugin_ldflags)
endif
