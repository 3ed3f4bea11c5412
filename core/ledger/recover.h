/* SPDX-License-Identifier: Apache-2.0 */
/* recover.h - what a journal holds after whatever happened to it. */
#ifndef CORE_LEDGER_RECOVER_H
#define CORE_LEDGER_RECOVER_H

#include "core/ledger/folder.h"

/* The segments first..last are valid and consecutive; last < first: there is none. */
struct recovery {
	uint64_t first, last;
	uint64_t first_seq; /* of the first record */
	uint64_t next_seq;  /* behind the last one */
	uint64_t end;       /* offset behind the last record, in the last segment */
	uint64_t room;      /* size of the last segment */
};

/* Reads everything, cuts a torn tail. SL_ECONFLICT: damaged where records were committed; no record is touched then. */
int recover(struct folder *f, struct recovery *out, sl_error *error);

#endif
