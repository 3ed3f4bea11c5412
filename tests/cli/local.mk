# SPDX-License-Identifier: Apache-2.0
# sluicectl against a fake control door. Python's standard library is enough.
cli_tests = tests/cli/test_commands tests/cli/test_local tests/cli/test_run tests/cli/test_simulate \
	tests/cli/test_simulate_routing tests/cli/test_table
dist_check_SCRIPTS += $(cli_tests)
TESTS += $(cli_tests)
EXTRA_DIST += tests/cli/harness.py \
	tests/cli/simulate/jobs.csv tests/cli/simulate/nodes.csv tests/cli/simulate/sluice.lua
