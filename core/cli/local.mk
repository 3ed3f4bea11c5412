# SPDX-License-Identifier: Apache-2.0
# Everything but main.c is a library, so that unit tests can link it.
noinst_LIBRARIES += core/cli/libcli.a
core_cli_libcli_a_SOURCES = \
	core/cli/base64.c core/cli/base64.h \
	core/cli/call.c \
	core/cli/change.c \
	core/cli/cli.h \
	core/cli/client.c core/cli/client.h \
	core/cli/columns.c \
	core/cli/complete.c \
	core/cli/ending.c core/cli/ending.h \
	core/cli/errors.c \
	core/cli/feed.c core/cli/feed.h \
	core/cli/follow.c core/cli/follow.h \
	core/cli/format.c core/cli/format.h \
	core/cli/help.c \
	core/cli/list.c \
	core/cli/logs.c \
	core/cli/man.c \
	core/cli/output.c core/cli/output.h \
	core/cli/parse.c \
	core/cli/run.c \
	core/cli/session.c core/cli/session.h \
	core/cli/show.c \
	core/cli/sink.c core/cli/sink.h \
	core/cli/status.c \
	core/cli/table.c \
	core/cli/usage.c

bin_PROGRAMS += sluicectl
sluicectl_SOURCES = core/cli/main.c
sluicectl_LDADD = core/cli/libcli.a core/http/libhttp.a core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS) $(XXHASH_LIBS) -lm
