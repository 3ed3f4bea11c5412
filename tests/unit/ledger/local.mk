# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/ledger/test_ledger_threads
tests_unit_ledger_test_ledger_threads_SOURCES = tests/unit/ledger/test_ledger_threads.c tests/unit/ledger/fake_store.h
tests_unit_ledger_test_ledger_threads_LDADD = core/ledger/libledger.a core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS)
