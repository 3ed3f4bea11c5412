# SPDX-License-Identifier: Apache-2.0
if ENABLE_STORE_SQLITE
check_PROGRAMS += tests/unit/store/test_sqlite
tests_unit_store_test_sqlite_SOURCES = tests/unit/store/test_sqlite.c tests/unit/store/open_store.h
tests_unit_store_test_sqlite_CFLAGS = $(UNIT_CFLAGS) $(STORE_SQLITE_CFLAGS)
tests_unit_store_test_sqlite_LDADD = core/base/libbase.a $(CRITERION_LIBS) $(STORE_SQLITE_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/store/test_bill
tests_unit_store_test_bill_SOURCES = tests/unit/store/test_bill.c tests/unit/store/open_store.h
tests_unit_store_test_bill_CFLAGS = $(UNIT_CFLAGS) $(STORE_SQLITE_CFLAGS)
tests_unit_store_test_bill_LDADD = core/ledger/libledger.a core/base/libbase.a $(CRITERION_LIBS) $(STORE_SQLITE_LIBS) \
	$(JANSSON_LIBS) $(CRYPTO_LIBS)
check_PROGRAMS += tests/unit/store/test_retention
tests_unit_store_test_retention_SOURCES = tests/unit/store/test_retention.c tests/unit/store/open_store.h
tests_unit_store_test_retention_CFLAGS = $(UNIT_CFLAGS) $(STORE_SQLITE_CFLAGS)
tests_unit_store_test_retention_LDADD = core/control/libcontrol.a core/ledger/libledger.a core/base/libbase.a $(CRITERION_LIBS) $(STORE_SQLITE_LIBS) \
	$(JANSSON_LIBS) $(CRYPTO_LIBS)
endif
