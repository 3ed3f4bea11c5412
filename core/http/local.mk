# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/http/libhttp.a
core_http_libhttp_a_SOURCES = \
	core/http/chunked.c \
	core/http/parse.c core/http/parse.h \
	core/http/sse.c core/http/sse.h
