/* SPDX-License-Identifier: Apache-2.0 */
/* edit.c - the changes between the body as it came and the body as the engine gets it, as a list of spans. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/text.h"
#include "core/gateway/worker.h"

static size_t skip_space(const char *text, size_t at, size_t end)
{
	while (at < end && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
		at++;
	return at;
}

static size_t back_space(const char *text, size_t at)
{
	while (at > 0 && (text[at - 1] == ' ' || text[at - 1] == '\t' || text[at - 1] == '\n' || text[at - 1] == '\r'))
		at--;
	return at;
}

static void add(struct edit *out, unsigned *n, uint32_t start, uint32_t end, const char *text)
{
	struct edit e = { .start = start, .end = end };
	str_copy(e.text, sizeof e.text, str_of(text));
	unsigned at = *n;
	/* What is put in goes before what is cut out at the same place. */
	while (at > 0 && (out[at - 1].start > start || (out[at - 1].start == start && start == end))) {
		out[at] = out[at - 1];
		at--;
	}
	out[at] = e;
	(*n)++;
}

/* Is a member to be cut out for this engine? What other engines take is an unknown member to it. */
static bool strips(const struct conf_engine *engine, const char *name)
{
	if (!engine || !name)
		return true;
	for (const char **stripped = engine->strip; *stripped; stripped++)
		if (strcmp(*stripped, name) == 0)
			return true;
	return false;
}

/* Cuts members out, each with one comma. The last member of the object has no comma behind it: then the one before
 * goes, which may be that of a member cut already. */
static void cut_members(const struct request *r, struct edit *out, unsigned *n)
{
	const char *text = request_text(r);
	size_t run_start = 0, run_end = 0; /* members cut so far without anything between them */
	for (unsigned i = 0; i < r->body.n_engine_only; i++) {
		if (!strips(r->engine, r->body.engine_only_name[i]))
			continue;
		size_t start = r->body.engine_only[i].key.start, end = r->body.engine_only[i].value.end;
		size_t behind = skip_space(text, end, r->text_len);
		bool comma = behind < r->text_len && text[behind] == ',';
		if (comma)
			end = skip_space(text, behind + 1, r->text_len);
		if (run_end != start)
			run_start = start;
		run_end = end;
		if (!comma) {
			size_t before = back_space(text, run_start);
			if (before > 0 && text[before - 1] == ',') {
				/* The run's own cuts begin at run_start: this one takes the comma in front of it. */
				add(out, n, (uint32_t) (before - 1), (uint32_t) before, "");
			}
		}
		add(out, n, (uint32_t) start, (uint32_t) end, "");
	}
}

/* Is there such a member, and is it no bound or one above ours? Each is judged by itself: a clamp never raises. */
static bool exceeds(const struct request *r, const struct body_member *at)
{
	uint64_t value;
	sl_str text = { request_text(r) + at->value.start, at->value.end - at->value.start };
	return at->value.end && (!str_to_u64(text, INT64_MAX, &value) || (int64_t) value > r->max_output);
}

static void edit_bound(const struct request *r, struct edit *out, unsigned *n, char *insert, size_t room)
{
	const struct body *b = &r->body;
	char number[24];
	if (!doors[r->spoken].generates)
		return;
	*text_put_i64(number, r->max_output) = '\0';
	if (exceeds(r, &b->max_tokens_at))
		add(out, n, b->max_tokens_at.value.start, b->max_tokens_at.value.end, number);
	if (exceeds(r, &b->max_completion_tokens_at))
		add(out, n, b->max_completion_tokens_at.value.start, b->max_completion_tokens_at.value.end, number);
	if (exceeds(r, &b->max_output_tokens_at))
		add(out, n, b->max_output_tokens_at.value.start, b->max_output_tokens_at.value.end, number);
	if (!b->max_tokens_at.value.end && !b->max_completion_tokens_at.value.end && !b->max_output_tokens_at.value.end)
		snprintf(insert + strlen(insert), room - strlen(insert), "\"%s\":%s,",
		         r->spoken == BODY_RESPONSES ? "max_output_tokens" : "max_tokens", number);
}

/* A member of stream_options that must be true: in its place, or in `words` where it has none. */
static void want(struct edit *out, unsigned *n, const char *name, bool set, const struct body_member *at, char words[96])
{
	size_t len = strlen(words);
	if (!at->value.end)
		snprintf(words + len, 96 - len, "%s\"%s\":true", len ? "," : "", name);
	else if (!set)
		add(out, n, at->value.start, at->value.end, "true");
}

/* Asks for the use of a stream, in the words of the engine. */
static void edit_usage(const struct request *r, struct edit *out, unsigned *n, char *insert, size_t room)
{
	const struct body *b = &r->body;
	char words[96] = "", text[100];
	if (!b->stream || !r->engine || !r->engine->usage_option || doors[r->spoken].typed)
		return;
	want(out, n, "include_usage", b->include_usage, &b->include_usage_at, words);
	if (r->engine->usage_running)
		want(out, n, "continuous_usage_stats", b->running_usage, &b->running_usage_at, words);
	if (!words[0])
		return;
	if (!b->stream_options_at.value.end) {
		snprintf(insert + strlen(insert), room - strlen(insert), "\"stream_options\":{%s},", words);
	} else if (request_text(r)[b->stream_options_at.value.start] == '{') {
		uint32_t at = b->stream_options_at.value.start + 1;
		bool empty = request_text(r)[skip_space(request_text(r), at, r->text_len)] == '}';
		snprintf(text, sizeof text, "%s%s", words, empty ? "" : ",");
		add(out, n, at, at, text);
	} else { /* null */
		snprintf(text, sizeof text, "{%s}", words);
		add(out, n, b->stream_options_at.value.start, b->stream_options_at.value.end, text);
	}
}

unsigned edit_plan(const struct request *r, struct edit *out)
{
	unsigned n = 0;
	char insert[192] = "";
	const char *served = r->replica->served_name;
	cut_members(r, out, &n);
	edit_bound(r, out, &n, insert, sizeof insert);
	edit_usage(r, out, &n, insert, sizeof insert);
	if (strcmp(served, r->body.model) != 0) {
		struct buf quoted = { 0 };
		buf_put_json(&quoted, str_of(served));
		buf_put(&quoted, "", 1);
		add(out, &n, r->body.model_at.value.start, r->body.model_at.value.end, quoted.failed ? "\"\"" : quoted.data);
		buf_free(&quoted);
	}
	if (insert[0]) /* a body has at least its model, so a comma behind is right */
		add(out, &n, r->body.open.end, r->body.open.end, insert);
	return n;
}
