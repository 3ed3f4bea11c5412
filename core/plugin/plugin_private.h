/* SPDX-License-Identifier: Apache-2.0 */
/* plugin_private.h - what the files of this room share. */
#ifndef CORE_PLUGIN_PLUGIN_PRIVATE_H
#define CORE_PLUGIN_PLUGIN_PRIVATE_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/base/metrics.h"
#include "core/plugin/plugin.h"

/* ---- kinds.c ---- */

struct plugin_kind {
	uint32_t number;
	const char *name;
	size_t ops_size;         /* of the table that this host knows */
	size_t ops_min;          /* of the table as it was in 1.0 */
	size_t result_size;      /* of what completes a token, as this host knows it; 0: tokens carry nothing */
	size_t result_min;       /* the same in 1.0 */
	const size_t *functions; /* offsets in the table of functions that must be there */
	size_t n_functions;
};

/* NULL: no such kind. */
const struct plugin_kind *plugin_kind_of(uint32_t number);

/* ---- refuse.c ---- */

/* One attempt to load a file: who asks and where the answer goes. */
struct plugin_attempt {
	const struct plugin_spec *spec;
	char asked[PATH_MAX]; /* the path as asked for */
	char path[PATH_MAX];  /* the same with symbolic links resolved; empty before that */
	char stem[SL_NAME_MAX];
	enum plugin_refusal *refusal; /* may be NULL */
	sl_error *error;              /* may be NULL */
};

/* Where the file is: fills asked and stem. False: refused. The name of a file that is asked for by its path is left to
 * plugin_name_check. */
bool plugin_attempt_init(struct plugin_attempt *a, const struct plugin_spec *spec, enum plugin_refusal *refusal,
                         sl_error *error);
/* Whether a plugin may have the name that is asked for. False: refused. */
bool plugin_name_check(struct plugin_attempt *a);
/* Writes the sentence and the reason; always false. */
bool plugin_refuse(struct plugin_attempt *a, enum plugin_refusal refusal, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- file.c ---- */

/* Everything that can be known without mapping the file: it is regular, ours, safe from others and a shared object
 * of this machine. Fills a->path. */
bool plugin_file_check(struct plugin_attempt *a);

/* ---- descriptor.c ---- */

/* Maps the file and copies its descriptor and its table (calloc, the host's size) once everything in them has been
 * found to fit. The names in *out point into the file, which is never unmapped. */
bool plugin_descriptor_load(struct plugin_attempt *a, sl_plugin *out, void **ops);
/* The i-th option of a checked descriptor; its fields as this host knows them. */
sl_option plugin_option_at(const sl_plugin *d, size_t i);

/* ---- options.c ---- */

/* A whole option's text is at most this long. */
enum { PLUGIN_OPTION_MAX = 1 << 20 };

/* The values of one instance from what is written (NULL: nothing) and the defaults. *out is to be freed. With
 * `lenient`, a required option may be missing. */
int plugin_conf_new(const sl_plugin *d, const json_t *options, bool lenient, sl_conf **out, sl_error *error);
void plugin_conf_free(sl_conf *conf); /* wipes secrets */
int64_t plugin_conf_int(const sl_conf *conf, const char *name);
sl_str plugin_conf_str(const sl_conf *conf, const char *name);
/* Are all required options there? */
bool plugin_conf_complete(const sl_conf *conf);
/* The first option whose value differs and which cannot be reloaded (or, with `any`, whichever); NULL: none. */
const char *plugin_conf_differs(const sl_conf *a, const sl_conf *b, bool any);

/* ---- tokens.c ---- */

enum { PLUGIN_TOKENS_MAX = 4096 };

struct plugin_token;
/* Slots, a generation each. One lock, never held while somebody's code runs. */
struct plugin_tokens {
	pthread_mutex_t lock;
	pthread_cond_t all_back;
	struct plugin_token *slots; /* made with the first token; pages are touched only as far as `fresh` */
	uint32_t fresh;             /* slots from here on were never used */
	uint32_t free;              /* 1 + index of the first free slot below fresh, 0: none */
	atomic_uint out;
	uint32_t visitors; /* threads inside of plugin_token_expire: the instance must outlive their loop */
	bool closing;
};

int plugin_tokens_init(struct plugin_tokens *t);
void plugin_tokens_destroy(struct plugin_tokens *t);
/* Frees the slots and keeps the rest, so that every token is stale from now on. False: none was ever given out. */
bool plugin_tokens_retire(struct plugin_tokens *t);
/* No new tokens from now on; true when none is out before wait_ms has passed. */
bool plugin_tokens_wait(struct plugin_tokens *t, unsigned wait_ms);
/* For the host table. */
int plugin_token_finish(struct plugin *p, sl_token token, const void *result, size_t size, const sl_error *error);

/* ---- host.c ---- */

/* Events that one instance may count under a name of their own; later ones are counted as "other". */
enum { PLUGIN_EVENTS_MAX = 32, PLUGIN_EVENT_NAME = 48 };

struct plugin_event {
	char name[PLUGIN_EVENT_NAME];
	struct metric *series;
};

void plugin_host_init(struct plugin *p);
void plugin_count(struct plugin *p, const char *event, uint64_t n);

/* ---- instance ---- */

struct plugin {
	struct plugin *next_closed;
	sl_host host;
	sl_plugin d; /* the host's copy */
	const struct plugin_kind *kind;
	const struct plugin_services *services; /* may be NULL */
	void *ops;
	void *self;
	sl_conf *conf;
	char *path;
	char label[2 * SL_NAME_MAX]; /* "auth/keys": in logs and metrics */
	struct plugin_tokens tokens;
	atomic_flag stale_told;
	pthread_mutex_t events_lock; /* for adding; reading needs none */
	atomic_uint n_events;
	struct plugin_event events[PLUGIN_EVENTS_MAX];
};

/* Loads and makes everything but the instance; *out is to be ended with plugin_free. With `lenient`, required options
 * may be missing. */
bool plugin_load(struct plugin_attempt *a, const struct plugin_services *services, bool lenient, struct plugin **out);
/* Runs check(), and open() when `open` is set, on a thread of their own, and waits for it plugin_limit_ms. False:
 * refused, and p is not the caller's any more. */
bool plugin_run(struct plugin_attempt *a, struct plugin *p, bool open);
void plugin_free(struct plugin *p);
/* How long check() and open() may take. 10,000; tests shorten it. */
extern unsigned plugin_limit_ms;

#endif
