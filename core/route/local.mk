# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/route/libroute.a
core_route_libroute_a_SOURCES = core/route/route.c core/route/route.h
