# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/cli/test_cli
tests_unit_cli_test_cli_SOURCES = tests/unit/cli/test_cli.c
tests_unit_cli_test_cli_CFLAGS = $(UNIT_CFLAGS)
tests_unit_cli_test_cli_LDADD = $(cli_libs) $(CRITERION_LIBS)
