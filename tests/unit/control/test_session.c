/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/base/str.h"
#include "core/control/session.h"

static const struct session_terms terms = { .session_ms = 10000, .idle_ms = 1000, .max = 40 };

static const char *begin(struct sessions *s, uint64_t now, const char *credential)
{
	static char tokens[64][SESSION_TOKEN_CHARS + 1];
	static size_t n;
	const struct session *session = NULL;
	sl_error error = { 0 };
	cr_assert_eq(sessions_begin(s, &terms, now, str_of(credential), &session, &error), SL_OK, "%s", error.text);
	cr_assert_eq(strlen(session->token), (size_t) SESSION_TOKEN_CHARS);
	return strcpy(tokens[n++ % 64], session->token);
}

static const struct session *find(struct sessions *s, uint64_t now, const char *token)
{
	return sessions_find(s, &terms, now, str_of(token));
}

Test(session, is_found_by_its_token_alone)
{
	struct sessions *s = sessions_new();
	const char *a = begin(s, 0, "Bearer a"), *b = begin(s, 0, "Bearer b");
	cr_expect_str_neq(a, b);
	cr_expect_str_eq(find(s, 1, a)->credential, "Bearer a");
	cr_expect_str_eq(find(s, 1, b)->credential, "Bearer b");
	char wrong[SESSION_TOKEN_CHARS + 1];
	strcpy(wrong, a);
	wrong[SESSION_TOKEN_CHARS - 1] ^= 1;
	cr_expect_null(find(s, 1, wrong));
	cr_expect_null(find(s, 1, ""));
	cr_expect_null(sessions_find(s, &terms, 1, (sl_str){ a, SESSION_TOKEN_CHARS - 1 }));
	cr_expect(sessions_end(s, str_of(a)));
	cr_expect_not(sessions_end(s, str_of(a)));
	cr_expect_null(find(s, 1, a));
	cr_expect_str_eq(find(s, 1, b)->credential, "Bearer b");
	sessions_free(s);
}

Test(session, ends_unused_and_in_the_end_anyway)
{
	struct sessions *s = sessions_new();
	const char *a = begin(s, 0, "Bearer a"), *b = begin(s, 0, "Bearer b");
	for (uint64_t now = 900; now < 10000; now += 900)
		cr_expect_not_null(find(s, now, a), "used all the time");
	cr_expect_null(find(s, 10000, a), "and ends all the same");
	cr_expect_null(find(s, 1000, b));
	cr_expect_eq(sessions_count(s), (size_t) 0);
	const char *c = begin(s, 20000, "Bearer c");
	cr_expect_eq(sessions_ends_ms(&terms, find(s, 20500, c)), (uint64_t) 21500);
	sessions_sweep(s, &terms, 21499);
	cr_expect_eq(sessions_count(s), (size_t) 1);
	sessions_sweep(s, &terms, 21500);
	cr_expect_eq(sessions_count(s), (size_t) 0);
	sessions_free(s);
}

Test(session, table_is_bounded_and_one_key_takes_no_more_than_its_share)
{
	struct sessions *s = sessions_new();
	const char *first = begin(s, 0, "Bearer a"), *second = begin(s, 1, "Bearer a");
	cr_expect_not_null(find(s, 5, first), "the second is the one that was used longest ago now");
	for (int i = 2; i < SESSION_OWN_MAX + 1; i++)
		begin(s, (uint64_t) (4 + i), "Bearer a");
	cr_expect_eq(sessions_count(s), (size_t) SESSION_OWN_MAX);
	cr_expect_null(find(s, 30, second));
	cr_expect_not_null(find(s, 30, first));
	const char *tokens[64];
	size_t others = terms.max - SESSION_OWN_MAX;
	for (size_t i = 0; i < others; i++) {
		char credential[32];
		snprintf(credential, sizeof credential, "Bearer b%zu", i);
		tokens[i] = begin(s, 40, credential);
	}
	const struct session *session = NULL;
	sl_error error = { 0 };
	cr_expect_eq(sessions_begin(s, &terms, 41, STR("Bearer c"), &session, &error), SL_EFULL);
	cr_expect_null(session);
	for (size_t i = 0; i < others; i += 2)
		cr_expect(sessions_end(s, str_of(tokens[i])));
	for (size_t i = 1; i < others; i += 2) {
		char credential[32];
		snprintf(credential, sizeof credential, "Bearer b%zu", i);
		cr_expect_str_eq(find(s, 50, tokens[i])->credential, credential, "the rest is found where it has moved to");
	}
	cr_expect_eq(sessions_begin(s, &terms, 51, STR("Bearer c"), &session, &error), SL_OK);
	sessions_free(s);
}

Test(session, keeps_no_credential_that_is_too_long)
{
	struct sessions *s = sessions_new();
	const struct session *session = NULL;
	sl_error error = { 0 };
	char *text = calloc(1, SESSION_CREDENTIAL_MAX + 2);
	memset(text, 'a', SESSION_CREDENTIAL_MAX + 1);
	cr_expect_eq(sessions_begin(s, &terms, 0, str_of(text), &session, &error), SL_EINVAL);
	free(text);
	sessions_free(s);
}

Test(session, a_look_is_no_use)
{
	struct sessions *s = sessions_new();
	const char *a = begin(s, 0, "Bearer a");
	cr_expect_not_null(sessions_peek(s, &terms, 999, str_of(a)));
	cr_expect_null(sessions_peek(s, &terms, 1000, str_of(a)));
	cr_expect_null(sessions_peek(s, &terms, 0, STR("x")));
	cr_expect_eq(sessions_count(s), (size_t) 1, "it changes nothing");
	sessions_free(s);
}
