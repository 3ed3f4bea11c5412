# SPDX-License-Identifier: Apache-2.0
LEDGER_LIBS = core/ledger/libledger.a core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/ledger/test_ledger_files tests/unit/ledger/test_ledger_threads
tests_unit_ledger_test_ledger_files_SOURCES = tests/unit/ledger/test_ledger_files.c tests/unit/ledger/fake_store.h
tests_unit_ledger_test_ledger_files_CFLAGS = $(UNIT_CFLAGS)
tests_unit_ledger_test_ledger_files_LDADD = $(LEDGER_LIBS) $(CRITERION_LIBS)
tests_unit_ledger_test_ledger_threads_SOURCES = tests/unit/ledger/test_ledger_threads.c tests/unit/ledger/fake_store.h
tests_unit_ledger_test_ledger_threads_LDADD = $(LEDGER_LIBS)
