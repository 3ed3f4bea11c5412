# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/gateway/libbody.a
core_gateway_libbody_a_SOURCES = \
	core/gateway/body.c core/gateway/body.h \
	core/gateway/body_event.c \
	core/gateway/body_strip.c core/gateway/body_strip.h \
	core/gateway/body_text.c core/gateway/body_text.h core/gateway/body_text_scan.h
noinst_LIBRARIES += core/gateway/libmessages.a
core_gateway_libmessages_a_SOURCES = \
	core/gateway/messages_answer.c core/gateway/messages.h \
	core/gateway/messages_request.c
