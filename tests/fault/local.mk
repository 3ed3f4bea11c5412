# SPDX-License-Identifier: Apache-2.0
dist_check_SCRIPTS += tests/fault/agent.sh
TESTS += tests/fault/agent.sh
EXTRA_DIST += tests/fault/agent_client.py tests/fault/agent_test.py
if HAVE_CRITERION
if ENABLE_STORE_SQLITE
check_PROGRAMS += tests/fault/test_ledger_kill
tests_fault_test_ledger_kill_SOURCES = tests/fault/test_ledger_kill.c tests/unit/store/open_store.h
tests_fault_test_ledger_kill_LDADD = $(LEDGER_LIBS)
endif
check_PROGRAMS += tests/fault/test_ledger_full
tests_fault_test_ledger_full_SOURCES = tests/fault/test_ledger_full.c tests/unit/ledger/fake_store.h
tests_fault_test_ledger_full_LDADD = $(LEDGER_LIBS)
endif
