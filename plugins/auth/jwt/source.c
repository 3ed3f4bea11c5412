/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - gets keys, on a thread of its own, and settles those who wait for them.
 *
 * A token whose key is unknown is answered by a fetch that began after it came: its key is in that set, or nowhere. As
 * fetches keep a distance, whoever sends tokens with made-up keys makes us ask the issuer no more often than that. */
#include "plugins/auth/jwt/source.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/auth/jwt/fetch.h"

enum { RETRY_MAX_MS = 60 * 1000, TELL_AGAIN_MS = 10 * 60 * 1000, URL_ROOM = 2048, SLEEP_MAX_MS = 60 * 1000 };

struct waiter {
	struct waiter *next;
	sl_token token;
	uint64_t deadline_ns;
	uint64_t fetches; /* that had begun when it came */
	size_t len;
	char text[];
};

struct source {
	struct source_options o;
	char *issuer, *jwks, *ca_file;
	pthread_t thread;
	struct fetch *fetch;
	atomic_bool stopping, failing;
	pthread_mutex_t lock;
	struct waiter *arrived; /* under the lock: handed over, last one first */
	atomic_uint n_waiting;
	/* The rest is the thread's. */
	struct waiter *waiting;
	enum { IDLE, DISCOVERY, KEYS } stage;
	char keys_url[URL_ROOM]; /* as the issuer's configuration says, empty: not known */
	uint64_t fetches;        /* begun so far */
	uint64_t begun_ns, due_ns, good_ns, told_ns;
	unsigned failures;       /* in a row */
	bool told_over;          /* that the keys hold no longer */
};

static uint64_t ns_of(uint64_t ms)
{
	return ms * 1000000;
}

static bool is_path(const char *jwks)
{
	return jwks && jwks[0] == '/';
}

int source_check(const char *issuer, const char *jwks, sl_error *error)
{
	const char *url = jwks ? jwks : issuer;
	if (is_path(jwks) || (strlen(url) < URL_ROOM - 64 && fetch_url_allowed(url)))
		return SL_OK;
	snprintf(error->text, sizeof error->text, "option '%s': '%.96s' is no https:// URL%s; http:// is for this machine alone",
	         jwks ? "jwks" : "issuer", url, jwks ? " and no path" : ", so it needs the option 'jwks'");
	return error->code = SL_EINVAL;
}

bool source_failing(const struct source *s)
{
	return atomic_load_explicit(&s->failing, memory_order_relaxed);
}

/* ---- who waits ---- */

int source_wait(struct source *s, sl_str text, sl_token token)
{
	if (atomic_fetch_add(&s->n_waiting, 1) >= s->o.waiting_max) {
		atomic_fetch_sub(&s->n_waiting, 1);
		return SL_EFULL;
	}
	struct waiter *w = malloc(sizeof *w + text.len);
	if (!w) {
		atomic_fetch_sub(&s->n_waiting, 1);
		return SL_EFULL;
	}
	*w = (struct waiter){ .token = token, .len = text.len, .deadline_ns = s->o.host->now_ns(s->o.host) + ns_of(s->o.wait_ms) };
	memcpy(w->text, text.ptr, text.len);
	pthread_mutex_lock(&s->lock);
	w->next = s->arrived;
	s->arrived = w;
	pthread_mutex_unlock(&s->lock);
	fetch_wake(s->fetch);
	return SL_PENDING;
}

/* Takes *at out of its list; it has been answered. */
static void forget(struct waiter **at)
{
	struct waiter *w = *at;
	*at = w->next;
	explicit_bzero(w->text, w->len);
	free(w);
}

static void fail(struct source *s, struct waiter **at, int code, const char *event, const char *text)
{
	sl_error error = { .code = code };
	snprintf(error.text, sizeof error.text, "%s", text);
	s->o.host->count(s->o.host, event, 1);
	atomic_fetch_sub(&s->n_waiting, 1); /* before the caller hears of it, so that it finds its room free */
	s->o.host->token_fail(s->o.host, (*at)->token, &error);
	forget(at);
}

static void fail_unavailable(struct source *s, struct waiter **at)
{
	fail(s, at, SL_EUNAVAILABLE, "no_key", "The keys that tokens are verified with cannot be had at the moment. Try again soon.");
}

static bool judge(struct source *s, struct waiter **at)
{
	atomic_fetch_sub(&s->n_waiting, 1);
	if (s->o.judge(s->o.arg, (sl_str){ (*at)->text, (*at)->len }, (*at)->token) == SL_PENDING) {
		atomic_fetch_add(&s->n_waiting, 1);
		return false;
	}
	forget(at);
	return true;
}

/* Those who came meanwhile. Their key may have come, too. */
static void take_arrived(struct source *s)
{
	pthread_mutex_lock(&s->lock);
	struct waiter *w = s->arrived;
	s->arrived = NULL;
	pthread_mutex_unlock(&s->lock);
	while (w) {
		struct waiter *next = w->next;
		w->next = s->waiting;
		w->fetches = s->fetches;
		s->waiting = w;
		judge(s, &s->waiting);
		w = next;
	}
}

/* There is a new set. */
static void settle(struct source *s)
{
	for (struct waiter **at = &s->waiting; *at;) {
		if (judge(s, at))
			continue;
		if ((*at)->fetches < s->fetches)
			fail(s, at, SL_EAUTH, "unknown_key", "The token's signature cannot be verified.");
		else
			at = &(*at)->next;
	}
}

/* When the next fetch may begin that answers those who wait. */
static uint64_t allowed_ns(const struct source *s)
{
	return s->fetches ? s->begun_ns + ns_of(s->o.gap_ms) : 0;
}

static void expire(struct source *s, uint64_t now)
{
	for (struct waiter **at = &s->waiting; *at;) {
		bool in_vain = s->stage == IDLE && allowed_ns(s) >= (*at)->deadline_ns;
		if (now >= (*at)->deadline_ns || in_vain)
			fail_unavailable(s, at);
		else
			at = &(*at)->next;
	}
}

/* ---- fetching ---- */

static uint64_t seconds_since(uint64_t now, uint64_t then)
{
	return (now - then) / 1000000000;
}

static void tell_failure(struct source *s, uint64_t now, const char *why)
{
	const sl_host *host = s->o.host;
	uint64_t keep = s->o.keep_ms / 1000, age = seconds_since(now, s->good_ns);
	bool over = s->good_ns && age >= keep && !s->told_over;
	if (s->failures > 1 && now - s->told_ns < ns_of(TELL_AGAIN_MS) && !over)
		return;
	s->told_ns = now;
	if (!s->good_ns) {
		host->log(host, SL_LOG_ERROR, "the keys of %s cannot be fetched: %s; its tokens are not accepted until they are", s->issuer,
		          why);
	} else if (age >= keep) {
		s->told_over = true;
		host->log(host, SL_LOG_ERROR, "the keys of %s cannot be fetched: %s; those that were known are %llu s old and hold no "
		          "longer: its tokens are not accepted", s->issuer, why, (unsigned long long) age);
	} else {
		host->log(host, SL_LOG_WARN, "the keys of %s cannot be fetched: %s; those of %llu s ago hold for another %llu s", s->issuer,
		          why, (unsigned long long) age, (unsigned long long) (keep - age));
	}
}

static void on_failure(struct source *s, const char *why)
{
	uint64_t now = s->o.host->now_ns(s->o.host), retry = s->o.gap_ms;
	s->stage = IDLE;
	s->keys_url[0] = '\0'; /* they may have moved */
	s->failures++;
	atomic_store(&s->failing, true);
	s->o.host->count(s->o.host, "fetch_failed", 1);
	tell_failure(s, now, why);
	for (unsigned i = 1; i < s->failures && retry < RETRY_MAX_MS; i++)
		retry *= 2;
	if (retry > RETRY_MAX_MS)
		retry = RETRY_MAX_MS;
	s->due_ns = now + ns_of(retry < s->o.refresh_ms ? retry : s->o.refresh_ms);
	while (s->waiting)
		fail_unavailable(s, &s->waiting);
}

static void on_keys(struct source *s, sl_str text)
{
	const sl_host *host = s->o.host;
	sl_error error = { 0 };
	struct jwks *set = jwks_parse(text.ptr, text.len, &error);
	if (!set) {
		on_failure(s, error.text);
		return;
	}
	uint64_t now = host->now_ns(host);
	if (s->failures)
		host->log(host, SL_LOG_INFO, "the keys of %s can be fetched again", s->issuer);
	s->stage = IDLE;
	s->failures = 0;
	s->told_over = false;
	s->good_ns = now;
	s->due_ns = now + ns_of(s->o.refresh_ms);
	host->count(host, "fetched", 1);
	s->o.take(s->o.arg, set);
	atomic_store(&s->failing, false);
	settle(s);
}

static void start(struct source *s, int stage, const char *url)
{
	sl_error error = { 0 };
	s->stage = stage;
	if (fetch_start(s->fetch, url, &error) != SL_OK)
		on_failure(s, error.text);
}

/* What https://issuer/.well-known/openid-configuration says. */
static void on_configuration(struct source *s, sl_str text)
{
	json_t *json = json_strict(text.ptr, text.len);
	const char *issuer = json_string_value(json_object_get(json, "issuer"));
	const char *url = json_string_value(json_object_get(json, "jwks_uri"));
	const char *why = NULL;
	if (!json)
		why = "its OpenID configuration is no JSON object";
	else if (!issuer || strcmp(issuer, s->issuer) != 0)
		why = "its OpenID configuration is that of another issuer";
	else if (!url || strlen(url) >= URL_ROOM || !fetch_url_allowed(url))
		why = "its OpenID configuration has no usable jwks_uri";
	else
		memcpy(s->keys_url, url, strlen(url) + 1);
	json_decref(json);
	if (why)
		on_failure(s, why);
	else
		start(s, KEYS, s->keys_url);
}

/* A file is read at once: whoever waits is on other threads. */
static void read_file(struct source *s)
{
	char *text = malloc(DOCUMENT_MAX), words[256];
	size_t len = 0;
	const char *why = text ? fetch_file(s->jwks, text, &len) : "out of memory";
	if (why) {
		snprintf(words, sizeof words, "%.160s: %s", s->jwks, why);
		on_failure(s, words);
	} else {
		on_keys(s, (sl_str){ text, len });
	}
	free(text);
}

static void begin(struct source *s, uint64_t now)
{
	char url[URL_ROOM];
	s->fetches++;
	s->begun_ns = now;
	if (is_path(s->jwks)) {
		read_file(s);
	} else if (s->jwks || s->keys_url[0]) {
		start(s, KEYS, s->jwks ? s->jwks : s->keys_url);
	} else {
		size_t len = strlen(s->issuer);
		snprintf(url, sizeof url, "%.*s/.well-known/openid-configuration", (int) (len - (s->issuer[len - 1] == '/')), s->issuer);
		start(s, DISCOVERY, url);
	}
}

static void advance(struct source *s)
{
	sl_error error = { 0 };
	int stage = s->stage;
	enum fetch_state state = stage == IDLE ? FETCH_RUNNING : fetch_step(s->fetch, &error);
	if (state == FETCH_FAILED)
		on_failure(s, error.text);
	else if (state == FETCH_DONE && stage == DISCOVERY)
		on_configuration(s, fetch_text(s->fetch));
	else if (state == FETCH_DONE)
		on_keys(s, fetch_text(s->fetch));
}

/* ---- the thread ---- */

/* When something is to be done although nobody comes. */
static uint64_t next_ns(const struct source *s)
{
	uint64_t next = s->stage == IDLE ? s->due_ns : UINT64_MAX;
	if (s->stage == IDLE && s->waiting && allowed_ns(s) < next)
		next = allowed_ns(s);
	return next;
}

static unsigned sleep_ms(const struct source *s, uint64_t now)
{
	uint64_t until = now + ns_of(SLEEP_MAX_MS), next = next_ns(s);
	if (next < until)
		until = next;
	for (const struct waiter *w = s->waiting; w; w = w->next)
		if (w->deadline_ns < until)
			until = w->deadline_ns;
	return until > now ? (unsigned) ((until - now) / 1000000 + 1) : 0;
}

static void *run(void *arg)
{
	struct source *s = arg;
	const sl_host *host = s->o.host;
	while (!atomic_load(&s->stopping)) {
		take_arrived(s);
		if (s->stage == IDLE && host->now_ns(host) >= next_ns(s))
			begin(s, host->now_ns(host));
		advance(s);
		uint64_t now = host->now_ns(host);
		expire(s, now);
		fetch_wait(s->fetch, sleep_ms(s, now));
	}
	return NULL;
}

static int start_thread(struct source *s)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the host's threads */
	int failed = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return failed;
}

static void source_free(struct source *s)
{
	fetch_free(s->fetch);
	free(s->issuer);
	free(s->jwks);
	free(s->ca_file);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct source *source_open(const struct source_options *options, sl_error *error)
{
	struct source *s = calloc(1, sizeof *s);
	error->code = SL_ENOMEM;
	snprintf(error->text, sizeof error->text, "out of memory");
	if (!s)
		return NULL;
	s->o = *options;
	pthread_mutex_init(&s->lock, NULL);
	s->issuer = strdup(options->issuer);
	s->jwks = options->jwks ? strdup(options->jwks) : NULL;
	s->ca_file = options->ca_file ? strdup(options->ca_file) : NULL;
	s->fetch = fetch_new(s->ca_file, options->timeout_ms);
	bool whole = s->fetch && s->issuer && (s->jwks || !options->jwks) && (s->ca_file || !options->ca_file);
	if (whole && start_thread(s) == 0)
		return s;
	if (whole)
		snprintf(error->text, sizeof error->text, "cannot start a thread");
	source_free(s);
	return NULL;
}

void source_close(struct source *s)
{
	if (!s)
		return;
	atomic_store(&s->stopping, true);
	fetch_wake(s->fetch);
	pthread_join(s->thread, NULL);
	source_free(s);
}
