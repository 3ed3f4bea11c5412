/* SPDX-License-Identifier: Apache-2.0 */
/* gateway.c - the workers as one thing: start, new snapshots, the ledger's word, the end. */
#include "core/gateway/gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/gateway/worker.h"

enum { BACKLOG = 4096, DESCRIPTORS_KEPT = 64 /* for the store, agents, the control door */ };

static int listen_on(const struct http_address *address, bool share, sl_error *error)
{
	char text[300];
	http_address_text(address, text, sizeof text);
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0) {
		error_set(error, SL_EIO, "cannot make a socket for %s: %s", text, strerror(errno));
		return -1;
	}
	if (address->any.sa_family == AF_UNIX) {
		unlink(address->un.sun_path);
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		if (share)
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	}
	if (bind(fd, &address->any, address->len) != 0 || listen(fd, BACKLOG) != 0) {
		error_set(error, SL_EIO, "cannot listen on %s: %s%s", text, strerror(errno),
		          errno == EADDRINUSE ? "; another program has it, see `ss -ltnp`" : "");
		close(fd);
		return -1;
	}
	if (address->any.sa_family == AF_UNIX)
		chmod(address->un.sun_path, 0666);
	return fd;
}

/* One listener for each address and worker. Workers share the one of a Unix socket. */
static bool open_listeners(struct gateway *g, sl_error *error)
{
	const struct conf *conf = g->options.conf;
	for (size_t a = 0; a < conf->n_listen; a++) {
		const struct http_address *address = &conf->listen[a];
		int fd = -1;
		if (address->any.sa_family != AF_UNIX) {
			/* Shared ports let a second daemon in unseen: the first bind is an exclusive one, to find that out. */
			fd = listen_on(address, false, error);
			if (fd < 0)
				return false;
			close(fd);
		}
		for (unsigned i = 0; i < g->n_workers; i++) {
			struct worker *w = &g->workers[i];
			if (address->any.sa_family == AF_UNIX && i > 0)
				fd = dup(fd);
			else
				fd = listen_on(address, true, error);
			if (fd < 0)
				return false;
			w->listen_fds[a] = fd;
			w->n_listen_fds = (unsigned) a + 1;
		}
	}
	return true;
}

static void count_descriptors(struct gateway *g)
{
	struct rlimit limit;
	g->connections_max = g->options.conf->connections_max;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	/* A client and its engine are two. */
	rlim_t room = limit.rlim_cur > DESCRIPTORS_KEPT ? (limit.rlim_cur - DESCRIPTORS_KEPT) / 2 : 1;
	if ((rlim_t) g->connections_max > room) {
		log_warn("limits.connections is %d, but %llu open files allow %llu: that is the limit now", g->connections_max,
		         (unsigned long long) limit.rlim_cur, (unsigned long long) room);
		g->connections_max = (int) room;
	}
}

static struct body_strip *strip_of(const struct conf *conf)
{
	_Static_assert((int) CONF_STRIP_NAME_MAX <= (int) BODY_NAME_MAX, "no name is left out");
	const char **names = calloc(conf->n_engines * CONF_STRIP_MAX + 1, sizeof *names);
	size_t n = 0;
	for (size_t i = 0; names && i < conf->n_engines; i++)
		for (const char **name = conf->engines[i].strip; *name; name++)
			names[n++] = *name;
	struct body_strip *strip = names ? body_strip_new(names, n) : NULL;
	free(names);
	return strip;
}

static struct generation *generation_new(struct conf *conf, sl_error *error)
{
	struct generation *generation = calloc(1, sizeof *generation);
	if (!generation) {
		error_set(error, SL_ENOMEM, "out of memory");
		return NULL;
	}
	generation->refs = 1;
	generation->conf = conf_ref(conf);
	generation->route = calloc(conf->n_models ? conf->n_models : 1, sizeof(struct route_model *));
	generation->strip = strip_of(conf);
	if (!generation->route || !generation->strip) {
		generation_unref(generation);
		error_set(error, SL_ENOMEM, "out of memory");
		return NULL;
	}
	generation->policy = policy_open(conf, false, error);
	if (!generation->policy) {
		generation_unref(generation);
		return NULL;
	}
	return generation;
}

/* A round of one message to each worker, which the main thread waits for. */
struct round {
	struct mail mail;
	struct worker *worker;
	uv_sem_t *done;
	enum { ROUND_PREPARE, ROUND_SWAP, ROUND_DISCARD, ROUND_DRAIN } what;
	struct conf *conf;
	uint64_t grace_ms;
	sl_error error;
};

static void on_round(struct mail *mail)
{
	struct round *round = (struct round *) mail;
	struct worker *w = round->worker;
	if (round->what == ROUND_PREPARE) {
		w->prepared = generation_new(round->conf, &round->error);
	} else if (round->what == ROUND_SWAP) {
		generation_unref(w->generation);
		w->generation = w->prepared;
		w->prepared = NULL;
	} else if (round->what == ROUND_DISCARD) {
		generation_unref(w->prepared);
		w->prepared = NULL;
	} else {
		drain_begin(w, round->grace_ms);
	}
	uv_sem_post(round->done);
}

/* The first error of any worker, or SL_OK. */
static int run_round(struct gateway *g, int what, struct conf *conf, uint64_t grace_ms, sl_error *error)
{
	struct round *rounds = calloc(g->n_started, sizeof *rounds);
	uv_sem_t done;
	int code = SL_OK;
	if (!rounds || uv_sem_init(&done, 0) != 0) {
		free(rounds);
		return error_set(error, SL_ENOMEM, "out of memory");
	}
	unsigned posted = 0;
	for (unsigned i = 0; i < g->n_started; i++) {
		rounds[i] = (struct round){ .mail.run = on_round, .worker = &g->workers[i], .done = &done, .what = what, .conf = conf,
			.grace_ms = grace_ms };
		posted += mailbox_post(&g->workers[i].mailbox, &rounds[i].mail);
	}
	for (unsigned i = 0; i < posted; i++)
		uv_sem_wait(&done);
	for (unsigned i = 0; i < g->n_started && code == SL_OK; i++)
		if (rounds[i].error.code) {
			code = rounds[i].error.code;
			if (error)
				*error = rounds[i].error;
		}
	uv_sem_destroy(&done);
	free(rounds);
	return code;
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;
	worker_run(w);
	if (uv_loop_close(&w->loop) != 0)
		log_error("worker %u ended with open handles", w->index);
	return NULL;
}

void gateway_free(struct gateway *g)
{
	if (!g)
		return;
	for (unsigned i = 0; i < g->n_workers; i++)
		worker_free(&g->workers[i]);
	conf_unref(g->options.conf);
	free(g->workers);
	free(g);
}

struct gateway *gateway_open(const struct gateway_options *options, sl_error *error)
{
	struct gateway *g = calloc(1, sizeof *g);
	unsigned n = (unsigned) options->conf->workers;
	if (g)
		g->workers = calloc(n, sizeof *g->workers);
	if (!g || !g->workers) {
		free(g);
		error_set(error, SL_ENOMEM, "out of memory");
		return NULL;
	}
	g->options = *options;
	conf_ref(options->conf);
	g->n_workers = n;
	count_descriptors(g);
	atomic_store(&g->committed, ledger_committed(options->ledger));
	if (options->conf->n_listen > WORKER_LISTEN_MAX) {
		error_set(error, SL_EINVAL, "more than %d listen addresses", WORKER_LISTEN_MAX);
		gateway_free(g);
		return NULL;
	}
	if (!open_listeners(g, error)) {
		gateway_free(g);
		return NULL;
	}
	for (unsigned i = 0; i < n; i++) {
		struct worker *w = &g->workers[i];
		w->gateway = g;
		w->index = i;
		hash_random(w->id_random, sizeof w->id_random);
		hash_random(&w->id_counter, sizeof w->id_counter);
		w->generation = generation_new(options->conf, error);
		if (!w->generation || !worker_open(w) || !listeners_open(w, w->listen_fds, w->n_listen_fds) ||
		    pthread_create(&w->thread, NULL, run_worker, w) != 0) {
			if (w->generation)
				error_set(error, SL_EINTERNAL, "cannot start worker %u", i);
			gateway_stop(g, 0);
			gateway_free(g);
			return NULL;
		}
		g->n_started++;
	}
	return g;
}

void gateway_ready(struct gateway *g, bool ready)
{
	atomic_store(&g->ready, ready);
}

void gateway_committed(struct gateway *g, uint64_t seq)
{
	atomic_store(&g->committed, seq);
	for (unsigned i = 0; i < g->n_started; i++)
		if (atomic_load(&g->workers[i].holding))
			uv_async_send(&g->workers[i].commit_async);
}

int gateway_configure(struct gateway *g, struct conf *conf, sl_error *error)
{
	int code = run_round(g, ROUND_PREPARE, conf, 0, error);
	if (code != SL_OK) {
		run_round(g, ROUND_DISCARD, NULL, 0, NULL);
		return code;
	}
	return run_round(g, ROUND_SWAP, NULL, 0, error);
}

void gateway_stop(struct gateway *g, uint64_t grace_ms)
{
	atomic_store(&g->ready, false);
	run_round(g, ROUND_DRAIN, NULL, grace_ms, NULL);
	for (unsigned i = 0; i < g->n_started; i++)
		pthread_join(g->workers[i].thread, NULL);
}

bool gateway_ticks(const struct gateway *g, unsigned worker, uint64_t *ticks)
{
	if (worker >= g->n_started)
		return false;
	*ticks = atomic_load_explicit(&g->workers[worker].ticks, memory_order_relaxed);
	return *ticks != TICKS_ENDED;
}

void gateway_totals(struct gateway *g, struct gateway_totals *out)
{
	*out = (struct gateway_totals){ 0 };
	for (unsigned i = 0; i < g->n_started; i++) {
		const struct worker *w = &g->workers[i];
		out->requests += atomic_load_explicit(&w->n_requests, memory_order_relaxed);
		out->errors += atomic_load_explicit(&w->n_errors, memory_order_relaxed);
		out->connections += atomic_load_explicit(&w->n_clients, memory_order_relaxed);
		out->active += atomic_load_explicit(&w->n_active, memory_order_relaxed);
		out->held += atomic_load_explicit(&w->n_held, memory_order_relaxed);
	}
}
