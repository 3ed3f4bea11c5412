# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/http/libhttp.a
core_http_libhttp_a_SOURCES = \
	core/http/address.c core/http/address.h \
	core/http/chunked.c \
	core/http/client.c core/http/client.h \
	core/http/parse.c core/http/parse.h \
	core/http/query.c core/http/query.h \
	core/http/server.c core/http/server.h core/http/server_impl.h \
	core/http/server_answer.c \
	core/http/server_read.c \
	core/http/sse.c core/http/sse.h
