/* SPDX-License-Identifier: Apache-2.0 */
/* tokens.c - promises of plugins to answer later. A token is a slot's number and its generation, so one that comes
 * twice or too late meets another generation and touches nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/plugin/plugin_private.h"

enum { SLOT_BITS = 12 };
_Static_assert(PLUGIN_TOKENS_MAX == 1 << SLOT_BITS, "a slot's number must fit");

struct plugin_token {
	uint64_t generation; /* of the token that is out, or of the last one; 52 bits */
	uint64_t deadline_ns;
	plugin_token_done done; /* NULL: free */
	void *arg;
	uint32_t next_free;
};

int plugin_tokens_init(struct plugin_tokens *t)
{
	pthread_condattr_t attr;
	if (pthread_condattr_init(&attr) != 0)
		return SL_ENOMEM;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	int failed = pthread_cond_init(&t->all_back, &attr);
	pthread_condattr_destroy(&attr);
	if (failed)
		return SL_ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	return SL_OK;
}

void plugin_tokens_destroy(struct plugin_tokens *t)
{
	free(t->slots);
	pthread_cond_destroy(&t->all_back);
	pthread_mutex_destroy(&t->lock);
}

bool plugin_tokens_retire(struct plugin_tokens *t)
{
	pthread_mutex_lock(&t->lock);
	bool used = t->slots != NULL;
	free(t->slots);
	t->slots = NULL;
	t->closing = true;
	pthread_mutex_unlock(&t->lock);
	return used;
}

bool plugin_tokens_wait(struct plugin_tokens *t, unsigned wait_ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += (long) (wait_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&t->lock);
	t->closing = true;
	int failed = 0;
	while ((atomic_load(&t->out) > 0 || t->visitors > 0) && !failed)
		failed = pthread_cond_timedwait(&t->all_back, &t->lock, &until);
	bool all_back = atomic_load(&t->out) == 0 && t->visitors == 0;
	pthread_mutex_unlock(&t->lock);
	return all_back;
}

/* Under the lock. NULL: all are out. */
static struct plugin_token *take_slot(struct plugin_tokens *t, uint32_t *index)
{
	if (!t->slots && !t->closing)
		t->slots = calloc(PLUGIN_TOKENS_MAX, sizeof *t->slots);
	if (!t->slots || t->closing)
		return NULL;
	if (t->free) {
		*index = t->free - 1;
		t->free = t->slots[*index].next_free;
	} else if (t->fresh < PLUGIN_TOKENS_MAX) {
		*index = t->fresh++;
	} else {
		return NULL;
	}
	return &t->slots[*index];
}

sl_token plugin_token_new(struct plugin *p, uint64_t deadline_ns, plugin_token_done done, void *arg)
{
	struct plugin_tokens *t = &p->tokens;
	uint32_t index;
	sl_token token = 0;
	pthread_mutex_lock(&t->lock);
	struct plugin_token *slot = take_slot(t, &index);
	if (slot) {
		slot->generation = (slot->generation + 1) & (UINT64_MAX >> SLOT_BITS);
		if (slot->generation == 0) /* so that no token is 0 */
			slot->generation = 1;
		slot->deadline_ns = deadline_ns;
		slot->done = done;
		slot->arg = arg;
		atomic_fetch_add(&t->out, 1);
		token = slot->generation << SLOT_BITS | index;
	}
	pthread_mutex_unlock(&t->lock);
	return token;
}

/* Under the lock: the slot is free again and *out is what was in it. */
static void give_back(struct plugin_tokens *t, uint32_t index, struct plugin_token *out)
{
	struct plugin_token *slot = &t->slots[index];
	*out = *slot;
	slot->done = NULL;
	slot->arg = NULL;
	slot->next_free = t->free;
	t->free = index + 1;
}

/* Under the lock. The end of a token: only now may the instance go. */
static void count_back(struct plugin_tokens *t)
{
	if (atomic_fetch_sub(&t->out, 1) == 1 && t->closing)
		pthread_cond_broadcast(&t->all_back);
}

static void one_less(struct plugin_tokens *t)
{
	pthread_mutex_lock(&t->lock);
	count_back(t);
	pthread_mutex_unlock(&t->lock);
}

/* Under the lock. */
static bool find_token(struct plugin_tokens *t, sl_token token, struct plugin_token *out)
{
	uint32_t index = token & (PLUGIN_TOKENS_MAX - 1);
	bool found = t->slots && index < t->fresh && t->slots[index].done && t->slots[index].generation == token >> SLOT_BITS;
	if (found)
		give_back(t, index, out);
	return found;
}

static bool take_token(struct plugin_tokens *t, sl_token token, struct plugin_token *out)
{
	pthread_mutex_lock(&t->lock);
	bool found = find_token(t, token, out);
	pthread_mutex_unlock(&t->lock);
	return found;
}

/* A result of an older plugin is shorter, of a newer one longer than what the host knows: done() always sees the
 * host's size. */
static void finish_with_result(struct plugin *p, const struct plugin_token *token, const void *result, size_t size)
{
	_Alignas(16) char copy[512] = { 0 };
	const struct plugin_kind *kind = p->kind;
	if (!kind->result_size) {
		token->done(token->arg, NULL, 0, NULL);
		return;
	}
	if (!result || size < kind->result_min || kind->result_size > sizeof copy) {
		sl_error error;
		error_set(&error, SL_EINTERNAL, "plugin %s answered with %zu bytes, expected at least %zu", p->label, size,
		          kind->result_min);
		plugin_count(p, "bad_result", 1);
		token->done(token->arg, NULL, 0, &error);
		return;
	}
	memcpy(copy, result, size < kind->result_size ? size : kind->result_size);
	token->done(token->arg, copy, kind->result_size, NULL);
}

int plugin_token_finish(struct plugin *p, sl_token number, const void *result, size_t size, const sl_error *error)
{
	struct plugin_token token;
	if (!take_token(&p->tokens, number, &token)) {
		plugin_count(p, "stale_token", 1);
		if (!atomic_flag_test_and_set(&p->stale_told))
			log_warn("plugin %s completed a token twice, too late, or one that was never given out; more of these are "
			         "only counted", p->label);
		return SL_ESTALE;
	}
	if (error)
		token.done(token.arg, NULL, 0, error);
	else
		finish_with_result(p, &token, result, size);
	one_less(&p->tokens);
	return SL_OK;
}

bool plugin_token_drop(struct plugin *p, sl_token number)
{
	struct plugin_tokens *t = &p->tokens;
	struct plugin_token token;
	pthread_mutex_lock(&t->lock);
	bool found = find_token(t, number, &token);
	if (found)
		count_back(t);
	pthread_mutex_unlock(&t->lock);
	return found;
}

/* The next token at or behind *i whose deadline has passed. */
static bool take_expired(struct plugin_tokens *t, uint64_t now_ns, uint32_t *i, struct plugin_token *out)
{
	pthread_mutex_lock(&t->lock);
	while (*i < t->fresh && !(t->slots[*i].done && t->slots[*i].deadline_ns <= now_ns))
		++*i;
	bool found = *i < t->fresh;
	if (found)
		give_back(t, *i, out);
	pthread_mutex_unlock(&t->lock);
	return found;
}

void plugin_token_expire(struct plugin *p, uint64_t now_ns)
{
	struct plugin_tokens *t = &p->tokens;
	struct plugin_token token;
	sl_error error;
	if (atomic_load(&t->out) == 0)
		return;
	error_set(&error, SL_ETIMEOUT, "plugin %s did not answer in time", p->label);
	pthread_mutex_lock(&t->lock);
	t->visitors++;
	pthread_mutex_unlock(&t->lock);
	for (uint32_t i = 0; take_expired(t, now_ns, &i, &token);) {
		plugin_count(p, "token_timeout", 1);
		token.done(token.arg, NULL, 0, &error);
		one_less(t);
	}
	pthread_mutex_lock(&t->lock);
	if (--t->visitors == 0)
		pthread_cond_broadcast(&t->all_back);
	pthread_mutex_unlock(&t->lock);
}

unsigned plugin_tokens_out(const struct plugin *p)
{
	return p ? atomic_load(&p->tokens.out) : 0;
}
