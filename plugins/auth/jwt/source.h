/* SPDX-License-Identifier: Apache-2.0 */
/* source.h - where keys come from, and who waits for them. A thread of its own gets the key set again and again: by
 * schedule, and when a token names a key that is not known. */
#ifndef PLUGINS_AUTH_JWT_SOURCE_H
#define PLUGINS_AUTH_JWT_SOURCE_H

#include <sluice/plugin.h>

#include "plugins/auth/jwt/jwks.h"

struct source_options {
	const sl_host *host;
	const char *issuer;  /* its OpenID configuration says where the keys are, */
	const char *jwks;    /* unless they are here: a URL, or a path; NULL: not */
	const char *ca_file; /* NULL: the system's */
	uint64_t refresh_ms; /* between two fetches by schedule */
	uint64_t gap_ms;     /* at least between the beginnings of two fetches */
	uint64_t keep_ms;    /* how long keys hold that cannot be fetched again; here it is only talked of */
	uint64_t wait_ms;    /* how long a token may wait for its key */
	unsigned timeout_ms; /* of one document */
	unsigned waiting_max;
	void *arg;
	/* Both on the source's thread. A new set, which is the callee's from now on: */
	void (*take)(void *arg, struct jwks *set);
	/* A token that waits: SL_PENDING, its key is still not there; else it has been completed. */
	int (*judge)(void *arg, sl_str text, sl_token token);
};

struct source;
/* Does the place of the keys make sense? */
int source_check(const char *issuer, const char *jwks, sl_error *error);
/* The texts are copied. Does not wait for the keys. */
struct source *source_open(const struct source_options *options, sl_error *error);
/* Nobody may be waiting. */
void source_close(struct source *s);

/* Keeps the token until its key has come or it is sure that there is none. SL_PENDING: `token` will be completed.
 * SL_EFULL: too many wait. Any thread. */
int source_wait(struct source *s, sl_str text, sl_token token);
/* Was the last attempt in vain? Any thread. */
bool source_failing(const struct source *s);

#endif
