# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += backends/cuda/README.md
if ENABLE_BACKEND_CUDA
backendplugin_LTLIBRARIES += backends/cuda/cuda.la
backends_cuda_cuda_la_SOURCES = \
	backends/cuda/cuda.c backends/cuda/cuda.h \
	backends/cuda/driver.c backends/cuda/driver.h \
	backends/cuda/health.c \
	backends/cuda/inventory.c \
	backends/cuda/lease.c \
	backends/cuda/nvml.c backends/cuda/nvml.h \
	backends/cuda/scrub.c \
	backends/cuda/suspend.c \
	backends/cuda/telemetry.c \
	backends/cuda/xid.c \
	$(common_backend_sources)
backends_cuda_cuda_la_CFLAGS = $(AM_CFLAGS)
backends_cuda_cuda_la_LDFLAGS = $(plugin_ldflags)
backends_cuda_cuda_la_LIBADD = -ldl
endif
