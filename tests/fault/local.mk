# SPDX-License-Identifier: Apache-2.0
dist_check_SCRIPTS += tests/fault/agent.sh
TESTS += tests/fault/agent.sh
EXTRA_DIST += tests/fault/agent_client.py tests/fault/agent_test.py
