# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/route/libroute.a
core_route_libroute_a_SOURCES = core/route/route.c core/route/route.h core/route/inner.h core/route/rules.c \
	core/route/use.c core/route/cost.c core/route/cost.h core/route/prefix.c core/route/prefix.h core/route/chain.c
