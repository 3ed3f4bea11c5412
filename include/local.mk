# SPDX-License-Identifier: Apache-2.0
dist_pkginclude_HEADERS += \
	include/sluice/auth.h \
	include/sluice/backend.h \
	include/sluice/launcher.h \
	include/sluice/plugin.h \
	include/sluice/scheduler.h \
	include/sluice/store.h \
	include/sluice/types.h
