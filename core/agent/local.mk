# SPDX-License-Identifier: Apache-2.0
sbin_PROGRAMS += sluice-agent
noinst_LIBRARIES += core/agent/libagent.a
core_agent_libagent_a_SOURCES = \
	core/agent/agent.c core/agent/agent.h \
	core/agent/backend.c core/agent/backend_host.c \
	core/agent/files.c core/agent/files.h \
	core/agent/inventory.c core/agent/inventory.h \
	core/agent/launch.c core/agent/launch.h core/agent/launch_plan.c \
	core/agent/lease.c core/agent/lease.h core/agent/lease_end.c core/agent/lease_input.c core/agent/lease_output.c \
	core/agent/lease_state.c \
	core/agent/listens.c \
	core/agent/logs.c core/agent/logs.h \
	core/agent/ops.c core/agent/pause.c \
	core/agent/output.c core/agent/output.h \
	core/agent/proc.c core/agent/proc.h \
	core/agent/program.c \
	core/agent/release.c \
	core/agent/server.c core/agent/server.h \
	core/agent/supervise.c core/agent/supervise.h \
	core/agent/tree.c core/agent/tree.h
sluice_agent_SOURCES = core/agent/main.c
sluice_agent_LDADD = core/agent/libagent.a core/plugin/libplugin.a core/loop/libloop.a core/base/libbase.a \
	$(UV_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) -ldl
