# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/ledger/libledger.a
core_ledger_libledger_a_SOURCES = \
	core/ledger/bill.c core/ledger/bill.h \
	core/ledger/feeder.c \
	core/ledger/folder.c core/ledger/folder.h \
	core/ledger/internal.h \
	core/ledger/keeper.c \
	core/ledger/ledger.c core/ledger/ledger.h \
	core/ledger/prices.c core/ledger/prices.h \
	core/ledger/record.c core/ledger/record.h \
	core/ledger/recover.c core/ledger/recover.h \
	core/ledger/retention.c core/ledger/retention.h \
	core/ledger/seal.c core/ledger/seal.h \
	core/ledger/verify.c \
	core/ledger/writer.c
