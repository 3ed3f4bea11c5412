# SPDX-License-Identifier: Apache-2.0
plugin_test_libs = core/plugin/libplugin.a core/base/libbase.a $(CRITERION_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) \
	$(XXHASH_LIBS)
noinst_HEADERS += tests/unit/plugin/fixture.h
check_PROGRAMS += tests/unit/plugin/test_refusals tests/unit/plugin/test_instance tests/unit/plugin/test_tokens
tests_unit_plugin_test_refusals_SOURCES = tests/unit/plugin/test_refusals.c
tests_unit_plugin_test_refusals_CFLAGS = $(UNIT_CFLAGS)
tests_unit_plugin_test_refusals_LDADD = $(plugin_test_libs)
tests_unit_plugin_test_instance_SOURCES = tests/unit/plugin/test_instance.c
tests_unit_plugin_test_instance_CFLAGS = $(UNIT_CFLAGS)
tests_unit_plugin_test_instance_LDADD = $(plugin_test_libs)
tests_unit_plugin_test_tokens_SOURCES = tests/unit/plugin/test_tokens.c
tests_unit_plugin_test_tokens_LDADD = core/plugin/libplugin.a core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS) \
	$(XXHASH_LIBS)
check_PROGRAMS += tests/unit/plugin/test_auth
tests_unit_plugin_test_auth_SOURCES = tests/unit/plugin/test_auth.c
tests_unit_plugin_test_auth_CFLAGS = $(UNIT_CFLAGS)
tests_unit_plugin_test_auth_LDADD = $(plugin_test_libs)
check_PROGRAMS += tests/unit/plugin/test_fifo
tests_unit_plugin_test_fifo_SOURCES = tests/unit/plugin/test_fifo.c
tests_unit_plugin_test_fifo_CFLAGS = $(UNIT_CFLAGS)
tests_unit_plugin_test_fifo_LDADD = $(plugin_test_libs)
check_PROGRAMS += tests/unit/plugin/test_exec
tests_unit_plugin_test_exec_SOURCES = tests/unit/plugin/test_exec.c
tests_unit_plugin_test_exec_CFLAGS = $(UNIT_CFLAGS)
tests_unit_plugin_test_exec_LDADD = $(plugin_test_libs)
