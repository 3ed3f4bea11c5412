# SPDX-License-Identifier: Apache-2.0
include core/gateway/body.mk
noinst_LIBRARIES += core/gateway/libgateway.a
core_gateway_libgateway_a_SOURCES = \
	core/gateway/admit.c \
	core/gateway/answer.c \
	core/gateway/client.c \
	core/gateway/dispatch.c \
	core/gateway/door.c core/gateway/door.h \
	core/gateway/doors.c \
	core/gateway/drain.c \
	core/gateway/edit.c \
	core/gateway/gateway.c core/gateway/gateway.h \
	core/gateway/listener.c \
	core/gateway/log.c \
	core/gateway/own.c \
	core/gateway/receipt.c \
	core/gateway/relay.c \
	core/gateway/request.c \
	core/gateway/routing.c \
	core/gateway/settle.c \
	core/gateway/socket.c core/gateway/socket.h \
	core/gateway/upstream.c \
	core/gateway/worker.c core/gateway/worker.h
