# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/agent/test_frame
tests_unit_agent_test_frame_SOURCES = tests/unit/agent/test_frame.c
tests_unit_agent_test_frame_CFLAGS = $(UNIT_CFLAGS)
tests_unit_agent_test_frame_LDADD = core/loop/libloop.a core/base/libbase.a $(CRITERION_LIBS) $(UV_LIBS) \
	$(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/agent/test_agent
tests_unit_agent_test_agent_SOURCES = tests/unit/agent/test_agent.c
tests_unit_agent_test_agent_CFLAGS = $(UNIT_CFLAGS)
tests_unit_agent_test_agent_LDADD = core/agent/libagent.a core/plugin/libplugin.a core/loop/libloop.a \
	core/base/libbase.a $(CRITERION_LIBS) $(UV_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) -ldl
