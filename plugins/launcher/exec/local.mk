# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/launcher/exec/README.md
if ENABLE_LAUNCHER_EXEC
launcherplugin_LTLIBRARIES += plugins/launcher/exec/exec.la
plugins_launcher_exec_exec_la_SOURCES = plugins/launcher/exec/exec.c
plugins_launcher_exec_exec_la_LDFLAGS = $(plugin_ldflags)
endif
