# SPDX-License-Identifier: Apache-2.0
# Everything but main.c is a library, so that unit tests can link it.
noinst_LIBRARIES += core/cli/libcli.a
core_cli_libcli_a_SOURCES = \
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
	core/cli/local.c \
	core/cli/logs.c \
	core/cli/man.c \
	core/cli/output.c core/cli/output.h \
	core/cli/parse.c \
	core/cli/run.c \
	core/cli/session.c core/cli/session.h \
	core/cli/settings.c \
	core/cli/show.c \
	core/cli/simulate.c \
	core/cli/simulate_jobs.c \
	core/cli/simulate_routing.c \
	core/cli/sink.c core/cli/sink.h \
	core/cli/status.c \
	core/cli/table.c \
	core/cli/usage.c \
	core/cli/verify.c

bin_PROGRAMS += sluicectl
sluicectl_SOURCES = core/cli/main.c
cli_libs = core/cli/libcli.a core/sim/libsim.a core/ledger/libledger.a core/lease/liblease.a core/policy/libpolicy.a core/conf/libconf.a \
	core/quota/libquota.a core/route/libroute.a core/sandbox/libsandbox.a core/plugin/libplugin.a core/http/libhttp.a \
	core/base/libbase.a $(JANSSON_LIBS) $(LUA_LIBS) $(CRYPTO_LIBS) -ldl -lm
sluicectl_LDADD = $(cli_libs)

# Made from the table of commands by the program itself.
nodist_man_MANS += docs/sluicectl.1
bashcompletiondir = $(datadir)/bash-completion/completions
nodist_bashcompletion_DATA = core/cli/completion/sluicectl
zshcompletiondir = $(datadir)/zsh/vendor-completions
nodist_zshcompletion_DATA = core/cli/completion/_sluicectl
fishcompletiondir = $(datadir)/fish/vendor_completions.d
nodist_fishcompletion_DATA = core/cli/completion/sluicectl.fish
CLEANFILES += docs/sluicectl.1 $(nodist_bashcompletion_DATA) $(nodist_zshcompletion_DATA) $(nodist_fishcompletion_DATA)

docs/sluicectl.1: sluicectl$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) docs && ./sluicectl$(EXEEXT) __man > $@.tmp && mv $@.tmp $@
core/cli/completion/sluicectl: sluicectl$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && ./sluicectl$(EXEEXT) completion bash > $@.tmp && mv $@.tmp $@
core/cli/completion/_sluicectl: sluicectl$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && ./sluicectl$(EXEEXT) completion zsh > $@.tmp && mv $@.tmp $@
core/cli/completion/sluicectl.fish: sluicectl$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && ./sluicectl$(EXEEXT) completion fish > $@.tmp && mv $@.tmp $@
