/* SPDX-License-Identifier: Apache-2.0 */
/* test_tokens.c - answers that come later, twice, too late, never, and from many threads; and an open()
 * that does not come back. */
#include <pthread.h>
#include <sluice/auth.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/plugin/plugin_private.h"
#include "tests/unit/plugin/fixture.h"
#include "tests/unit/tap.h"

struct seen {
	atomic_int calls;
	atomic_int code;
	atomic_size_t size;
	char tenant[SL_NAME_MAX];
};

static void note(void *arg, const void *result, size_t size, const sl_error *error)
{
	struct seen *s = arg;
	const sl_identity *who = result;
	if (who)
		memcpy(s->tenant, who->tenant, sizeof s->tenant);
	atomic_store(&s->code, error ? error->code : SL_OK);
	atomic_store(&s->size, size);
	atomic_fetch_add(&s->calls, 1); /* last: readers wait for it */
}

static bool wait_for(struct seen *s)
{
	for (int i = 0; i < 5000 && atomic_load(&s->calls) == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	return atomic_load(&s->calls) == 1;
}

static void ask(struct plugin *p, const char *how, struct seen *s)
{
	const sl_auth_ops *ops = plugin_ops(p);
	sl_auth_request request = { .size = sizeof request, .authorization = { how, strlen(how) } };
	sl_token token = plugin_token_new(p, UINT64_MAX, note, s);
	if (token == 0 || ops->authenticate(plugin_self(p), &request, token, NULL, NULL) != SL_PENDING)
		abort();
}

static uint64_t stale(void)
{
	return metrics_value(metrics_counter("sluice_plugin_events_total", "", "plugin,event", "auth/answers", "stale_token"));
}

static void test_answers(struct plugin *p)
{
	struct seen now = { 0 }, later = { 0 }, fail = { 0 }, shorter = { 0 }, nothing = { 0 }, twice = { 0 };
	ask(p, "now", &now);
	tap_ok(atomic_load(&now.calls) == 1 && strcmp(now.tenant, "late") == 0, "completed inside of the call");
	tap_ok(atomic_load(&now.size) == sizeof(sl_identity), "with the host's size");
	ask(p, "later", &later);
	tap_ok(wait_for(&later) && atomic_load(&later.code) == SL_OK, "completed by another thread");
	ask(p, "fail", &fail);
	tap_ok(wait_for(&fail) && atomic_load(&fail.code) == SL_EDENIED, "failed by another thread");
	ask(p, "short", &shorter);
	tap_ok(wait_for(&shorter) && atomic_load(&shorter.code) == SL_EINTERNAL, "a result that is too short is an error");
	ask(p, "nothing", &nothing);
	tap_ok(wait_for(&nothing) && atomic_load(&nothing.code) == SL_EINTERNAL, "so is none");
	uint64_t before = stale();
	ask(p, "twice", &twice);
	bool once = wait_for(&twice);
	for (int i = 0; i < 5000 && stale() == before; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	tap_ok(once && atomic_load(&twice.calls) == 1, "completed twice: answered once");
	tap_ok(stale() == before + 1, "and counted");
}

static void test_values(struct plugin *p)
{
	const sl_host *h = &p->host;
	sl_identity who = { .size = sizeof who };
	struct seen s = { 0 };
	tap_ok(h->token_done(h, 0, &who, sizeof who) == SL_ESTALE, "0 is never a token");
	tap_ok(h->token_done(h, UINT64_MAX, &who, sizeof who) == SL_ESTALE, "nor is one that was never given out");
	sl_token a = plugin_token_new(p, UINT64_MAX, note, &s);
	tap_ok(plugin_token_drop(p, a) && !plugin_token_drop(p, a), "dropped once");
	tap_ok(h->token_done(h, a, &who, sizeof who) == SL_ESTALE && atomic_load(&s.calls) == 0, "and void from then on");
	sl_token b = plugin_token_new(p, UINT64_MAX, note, &s);
	tap_ok(a != b && (a & 4095) == (b & 4095), "a slot's next token has another value");
	tap_ok(h->token_done(h, a, &who, sizeof who) == SL_ESTALE && atomic_load(&s.calls) == 0, "an old one does not meet it");
	tap_ok(h->token_fail(h, b, NULL) == SL_OK && atomic_load(&s.code) == SL_EINTERNAL, "failing without words is our fault");
	tap_ok(!plugin_token_drop(p, b), "what was completed cannot be dropped");
}

static void test_expiry(struct plugin *p)
{
	struct seen early = { 0 }, late = { 0 };
	sl_identity who = { .size = sizeof who };
	sl_token a = plugin_token_new(p, 1000, note, &early), b = plugin_token_new(p, 3000, note, &late);
	plugin_token_expire(p, 999);
	tap_ok(atomic_load(&early.calls) == 0, "not before its time");
	plugin_token_expire(p, 1000);
	tap_ok(atomic_load(&early.calls) == 1 && atomic_load(&early.code) == SL_ETIMEOUT, "a deadline fails with a timeout");
	tap_ok(atomic_load(&late.calls) == 0 && plugin_tokens_out(p) == 1, "and only that one");
	tap_ok(p->host.token_done(&p->host, a, &who, sizeof who) == SL_ESTALE, "what comes after it is stale");
	tap_ok(plugin_token_drop(p, b), "the other is alive");
}

static void test_bound(struct plugin *p)
{
	static sl_token tokens[PLUGIN_TOKENS_MAX];
	struct seen s = { 0 };
	int made = 0;
	for (int i = 0; i < PLUGIN_TOKENS_MAX; i++)
		made += (tokens[i] = plugin_token_new(p, 5, note, &s)) != 0;
	tap_ok(made == PLUGIN_TOKENS_MAX, "4096 may be out");
	tap_ok(plugin_token_new(p, 5, note, &s) == 0, "and not one more");
	plugin_token_drop(p, tokens[77]);
	tokens[77] = plugin_token_new(p, 5, note, &s);
	tap_ok(tokens[77] != 0, "room again when one is back");
	plugin_token_expire(p, 5);
	tap_ok(atomic_load(&s.calls) == PLUGIN_TOKENS_MAX && plugin_tokens_out(p) == 0, "all expire in one go");
}

/* Many threads make, complete, drop and expire at once: every token ends exactly once. */
enum { THREADS = 4, ROUNDS = 3000 };

static atomic_int endings;

static void count_end(void *arg, const void *result, size_t size, const sl_error *error)
{
	(void) arg, (void) result, (void) size, (void) error;
	atomic_fetch_add(&endings, 1);
}

struct racer {
	struct plugin *p;
	_Atomic sl_token *shared; /* one slot a thread: its neighbour completes what is there */
	int self;
	int dropped;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	sl_identity who = { .size = sizeof who };
	const sl_host *h = &r->p->host;
	for (int i = 0; i < ROUNDS; i++) {
		sl_token mine = plugin_token_new(r->p, (uint64_t) i, count_end, NULL);
		if (mine == 0)
			abort();
		atomic_store(&r->shared[r->self], mine);
		sl_token theirs = atomic_load(&r->shared[(r->self + 1) % THREADS]);
		if (theirs)
			h->token_done(h, theirs, &who, sizeof who);
		if (i % 64 == 0)
			plugin_token_expire(r->p, (uint64_t) i);
		if (i % 3 == 0)
			r->dropped += plugin_token_drop(r->p, mine);
		else
			h->token_fail(h, mine, NULL);
	}
	return NULL;
}

static void test_race(struct plugin *p)
{
	_Atomic sl_token shared[THREADS] = { 0 };
	struct racer racers[THREADS];
	pthread_t threads[THREADS];
	int dropped = 0;
	for (int i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){ .p = p, .shared = shared, .self = i };
		pthread_create(&threads[i], NULL, race, &racers[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		dropped += racers[i].dropped;
	}
	tap_ok(atomic_load(&endings) + dropped == THREADS * ROUNDS, "%d tokens ended exactly once", THREADS * ROUNDS);
	tap_ok(plugin_tokens_out(p) == 0, "none is left");
}

static void *close_later(void *arg)
{
	struct plugin *p = arg;
	return plugin_close(p, 10000) ? p : NULL;
}

static void test_close(struct plugin *p)
{
	struct seen s = { 0 };
	ask(p, "never", &s);
	tap_ok(!plugin_close(p, 20), "not closed while an answer is owed");
	tap_ok(plugin_token_new(p, 5, note, &s) == 0, "no new promises by then");
	/* It comes after all: the next close gets through. */
	pthread_t thread;
	void *closed;
	const sl_host *host = &p->host;
	sl_identity who = { .size = sizeof who };
	pthread_create(&thread, NULL, close_later, p);
	plugin_token_expire(p, UINT64_MAX);
	pthread_join(thread, &closed);
	tap_ok(closed && atomic_load(&s.calls) == 1, "closed once the last is back");
	tap_ok(host->token_done(host, 1u << 12, &who, sizeof who) == SL_ESTALE, "a completion after the end is stale");
}

/* The daemon must not wait for a plugin that does not come back, and whatever comes back later is ended. */
static void test_open_that_hangs(void)
{
	char mark[PATH_MAX + 16];
	enum plugin_refusal refusal;
	sl_error error;
	snprintf(mark, sizeof mark, "%s/closed", fixture_dir());
	setenv("SLUICE_TEST_CLOSED", mark, 1);
	plugin_limit_ms = 50;
	struct plugin *p = fixture_open("tests/abi/bad", "open_hangs", NULL, NULL, &refusal, &error);
	tap_ok(!p && refusal == PLUGIN_OPEN, "an open() that hangs is refused");
	tap_ok(strstr(error.text, "open() did not return within 50 ms"), "in these words: %s", error.text);
	for (int i = 0; i < 1000 && access(mark, F_OK) != 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	tap_ok(access(mark, F_OK) == 0, "the late instance was closed");
	/* Its thread frees what is left after that: give it the time to, lest it is called a leak. */
	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
}

int main(void)
{
	enum plugin_refusal refusal;
	sl_error error = { 0 };
	struct plugin *p = fixture_open("tests/abi/bad", "answers", NULL, NULL, &refusal, &error);
	if (!tap_ok(p != NULL, "the plugin opens: %s", error.text))
		return tap_done();
	sl_identity who;
	uint8_t digest[32] = { 0 };
	tap_ok(p->host.credential_find(&p->host, digest, &who, &error) == SL_EUNAVAILABLE, "no services: no credentials");
	tap_ok(p->host.user_find(&p->host, 0, 0, &who, &error) == SL_NOT_MINE, "no services: no users");
	test_answers(p);
	test_values(p);
	test_expiry(p);
	test_bound(p);
	test_race(p);
	test_close(p);
	test_open_that_hangs();
	return tap_done();
}
