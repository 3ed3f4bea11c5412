/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - who is signed in on the web page: a bounded table, in memory alone. A session keeps what its owner has
 * signed in with, which is asked for again at each call: so rights are always those of now. No clock of its own; one
 * thread. */
#ifndef CORE_CONTROL_SESSION_H
#define CORE_CONTROL_SESSION_H

#include <sluice/types.h>
#include <stdbool.h>

enum {
	SESSION_TOKEN_CHARS = 64,  /* 32 random bytes in hexadecimal */
	SESSION_CREDENTIAL_MAX = 4096,
	SESSION_OWN_MAX = 16       /* of one credential: a new one ends the oldest */
};

struct session_terms {
	uint64_t session_ms, idle_ms; /* it ends so long after its begin, and after its last use */
	size_t max;                   /* at a time */
};

struct session {
	char token[SESSION_TOKEN_CHARS + 1];
	char *credential;             /* value of an Authorization header: "Bearer ..." */
	uint64_t credential_hash;
	uint64_t begun_ms, used_ms;
};

struct sessions;

struct sessions *sessions_new(void); /* NULL: out of memory */
void sessions_free(struct sessions *sessions);
/* A new one. SL_EFULL: as many as may be are open. The session is the table's, until the next call that changes it. */
int sessions_begin(struct sessions *sessions, const struct session_terms *terms, uint64_t now_ms, sl_str credential,
                   const struct session **out, sl_error *error);
/* NULL: there is none, or it has ended. Counts as a use of it. */
const struct session *sessions_find(struct sessions *sessions, const struct session_terms *terms, uint64_t now_ms, sl_str token);
/* The same without counting as a use. */
const struct session *sessions_peek(const struct sessions *sessions, const struct session_terms *terms, uint64_t now_ms,
                                    sl_str token);
/* When it ends if nothing is asked for any more. */
uint64_t sessions_ends_ms(const struct session_terms *terms, const struct session *session);
/* False: there was none. */
bool sessions_end(struct sessions *sessions, sl_str token);
/* Forgets those that have ended. */
void sessions_sweep(struct sessions *sessions, const struct session_terms *terms, uint64_t now_ms);
size_t sessions_count(const struct sessions *sessions);

#endif
