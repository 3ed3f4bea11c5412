/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - the table of those who are signed in. */
#include "core/control/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/index.h"
#include "core/base/str.h"

enum { TOKEN_BYTES = SESSION_TOKEN_CHARS / 2 };

struct sessions {
	struct session *list;
	size_t n, room;
	struct index index; /* by the hash of the token */
};

static uint32_t tag_of(const char *token)
{
	return (uint32_t) hash_bytes(token, SESSION_TOKEN_CHARS);
}

struct sessions *sessions_new(void)
{
	return calloc(1, sizeof(struct sessions));
}

static void wipe(struct session *session)
{
	explicit_bzero(session->credential, strlen(session->credential));
	free(session->credential);
	explicit_bzero(session, sizeof *session);
}

void sessions_free(struct sessions *sessions)
{
	if (!sessions)
		return;
	for (size_t i = 0; i < sessions->n; i++)
		wipe(&sessions->list[i]);
	free(sessions->list);
	index_free(&sessions->index);
	free(sessions);
}

/* The place of a token, from 1 up, and its slot; 0: there is none. */
static uint32_t place_of(const struct sessions *sessions, const char *token, uint32_t *slot)
{
	uint32_t tag = tag_of(token), place;
	for (*slot = index_start(&sessions->index, tag); (place = index_match(&sessions->index, tag, slot)); ++*slot)
		if (str_eq_secret(sessions->list[place - 1].token, token, SESSION_TOKEN_CHARS))
			return place;
	return 0;
}

/* The last one moves into the gap. */
static void drop(struct sessions *sessions, size_t at)
{
	uint32_t slot;
	size_t last = sessions->n - 1;
	if (place_of(sessions, sessions->list[at].token, &slot))
		index_remove(&sessions->index, slot);
	wipe(&sessions->list[at]);
	if (at != last) {
		if (place_of(sessions, sessions->list[last].token, &slot))
			sessions->index.slots[slot].place = (uint32_t) at + 1;
		sessions->list[at] = sessions->list[last];
		explicit_bzero(&sessions->list[last], sizeof sessions->list[last]);
	}
	sessions->n--;
}

uint64_t sessions_ends_ms(const struct session_terms *terms, const struct session *session)
{
	uint64_t end = session->begun_ms + terms->session_ms, idle = session->used_ms + terms->idle_ms;
	return end < idle ? end : idle;
}

void sessions_sweep(struct sessions *sessions, const struct session_terms *terms, uint64_t now_ms)
{
	for (size_t i = sessions->n; i-- > 0;)
		if (now_ms >= sessions_ends_ms(terms, &sessions->list[i]))
			drop(sessions, i);
}

static void make_room_of_own(struct sessions *sessions, uint64_t credential_hash)
{
	size_t own = 0, oldest = 0;
	for (size_t i = 0; i < sessions->n; i++) {
		const struct session *s = &sessions->list[i];
		if (s->credential_hash != credential_hash)
			continue;
		if (own++ == 0 || s->used_ms < sessions->list[oldest].used_ms)
			oldest = i;
	}
	if (own >= SESSION_OWN_MAX)
		drop(sessions, oldest);
}

static bool make_room(struct sessions *sessions)
{
	if (!index_room(&sessions->index))
		return false;
	if (sessions->n < sessions->room)
		return true;
	size_t room = sessions->room ? 2 * sessions->room : 16;
	struct session *list = calloc(room, sizeof *list);
	if (!list)
		return false;
	if (sessions->n) {
		memcpy(list, sessions->list, sessions->n * sizeof *list);
		explicit_bzero(sessions->list, sessions->n * sizeof *list);
	}
	free(sessions->list);
	sessions->list = list;
	sessions->room = room;
	return true;
}

static bool make_token(char token[SESSION_TOKEN_CHARS + 1])
{
	uint8_t bytes[TOKEN_BYTES];
	if (!hash_random(bytes, sizeof bytes))
		return false;
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(token + 2 * i, 3, "%02x", bytes[i]);
	explicit_bzero(bytes, sizeof bytes);
	return true;
}

int sessions_begin(struct sessions *sessions, const struct session_terms *terms, uint64_t now_ms, sl_str credential,
                   const struct session **out, sl_error *error)
{
	struct session session = { .begun_ms = now_ms, .used_ms = now_ms, .credential_hash = hash_str(credential) };
	if (credential.len > SESSION_CREDENTIAL_MAX)
		return error_set(error, SL_EINVAL, "a key has at most %d characters", SESSION_CREDENTIAL_MAX);
	sessions_sweep(sessions, terms, now_ms);
	make_room_of_own(sessions, session.credential_hash);
	if (sessions->n >= terms->max)
		return error_set(error, SL_EFULL, "%zu people are signed in, as many as may be (page { sessions = ... })", sessions->n);
	if (!make_token(session.token))
		return error_set(error, SL_EINTERNAL, "the system gives no random bytes");
	session.credential = str_dup(credential);
	if (!session.credential || !make_room(sessions)) {
		free(session.credential);
		return error_set(error, SL_ENOMEM, "out of memory");
	}
	struct session *s = &sessions->list[sessions->n++];
	*s = session;
	explicit_bzero(&session, sizeof session);
	index_put(&sessions->index, tag_of(s->token), (uint32_t) sessions->n);
	*out = s;
	return SL_OK;
}

const struct session *sessions_peek(const struct sessions *sessions, const struct session_terms *terms, uint64_t now_ms,
                                    sl_str token)
{
	uint32_t slot, place = token.len == SESSION_TOKEN_CHARS ? place_of(sessions, token.ptr, &slot) : 0;
	const struct session *s = place ? &sessions->list[place - 1] : NULL;
	return s && now_ms < sessions_ends_ms(terms, s) ? s : NULL;
}

const struct session *sessions_find(struct sessions *sessions, const struct session_terms *terms, uint64_t now_ms, sl_str token)
{
	uint32_t slot, place = token.len == SESSION_TOKEN_CHARS ? place_of(sessions, token.ptr, &slot) : 0;
	if (!place)
		return NULL;
	struct session *s = &sessions->list[place - 1];
	if (now_ms >= sessions_ends_ms(terms, s)) {
		drop(sessions, place - 1);
		return NULL;
	}
	s->used_ms = now_ms;
	return s;
}

bool sessions_end(struct sessions *sessions, sl_str token)
{
	uint32_t slot, place = token.len == SESSION_TOKEN_CHARS ? place_of(sessions, token.ptr, &slot) : 0;
	if (place)
		drop(sessions, place - 1);
	return place != 0;
}

size_t sessions_count(const struct sessions *sessions)
{
	return sessions->n;
}
