# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += backends/hip/README.md
if ENABLE_BACKEND_HIP
backendplugin_LTLIBRARIES += backends/hip/hip.la
backends_hip_hip_la_SOURCES = \
	backends/hip/hip.c backends/hip/hip.h \
	backends/hip/inventory.c \
	backends/hip/lease.c \
	backends/hip/sysfs.c \
	backends/hip/telemetry.c \
	$(common_backend_sources)
backends_hip_hip_la_CFLAGS = $(AM_CFLAGS)
backends_hip_hip_la_LDFLAGS = $(plugin_ldflags)
backends_hip_hip_la_LIBADD = -ldl
endif
