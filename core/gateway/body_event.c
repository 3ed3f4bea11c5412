/* SPDX-License-Identifier: Apache-2.0 */
/* body_event.c - what an engine says of its use, in an answer or in an event of a stream: searched, not parsed. */
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/base/str.h"
#include "core/gateway/body.h"

/* No answer has more tokens than this: a larger count is a fault of the engine. */
#define COUNT_MAX ((uint64_t) 1 << 40)
/* An engine's usage object has two levels. */
enum { LEVELS = 2 };

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

/* Behind the string whose opening quote is at p, NULL when it is cut. */
static const char *skip_string(const char *p, const char *end)
{
	const char *start = p + 1, *quote = memchr(start, '"', (size_t) (end - start));
	if (!quote || (quote[-1] != '\\'))
		return quote ? quote + 1 : NULL;
	for (p = start; p < end && *p != '"'; p++)
		if (*p == '\\' && ++p == end)
			return NULL;
	return p < end ? p + 1 : NULL;
}

/* Behind the value at p, NULL when it is cut or no value at all. Brackets are counted, not matched. */
static const char *skip_value(const char *p, const char *end)
{
	size_t depth = 0;
	while (p && p < end) {
		char c = *p;
		if (c == '"') {
			p = skip_string(p, end);
		} else if (c == '{' || c == '[') {
			depth++;
			p++;
		} else if (c == '}' || c == ']') {
			if (depth == 0)
				return NULL;
			depth--;
			p++;
		} else if (depth == 0) {
			const char *start = p;
			while (p < end && *p != ',' && *p != '}' && *p != ']' && !is_space(*p))
				p++;
			return p > start && p < end ? p : NULL;
		} else {
			p++;
		}
		if (depth == 0)
			return p;
	}
	return NULL;
}

/* A count at p..end, -1 when it is absurd. */
static int64_t count_of(const char *p, const char *end)
{
	uint64_t n;
	return str_to_u64((sl_str){ p, (size_t) (end - p) }, COUNT_MAX, &n) ? (int64_t) n : -1;
}

/* The counts of a usage object. */
struct counts {
	struct body_usage usage;
	/* Anthropic's input_tokens leave out what was read from the cache or written to it; all others' counts have it. */
	bool apart;
	int64_t read, written;
};

static void take_count(struct counts *c, sl_str key, const char *p, const char *end)
{
	switch (key.len) {
	case 12:
		if (str_eq(key, STR("input_tokens")) && c->usage.input < 0) {
			c->usage.input = count_of(p, end);
			c->apart = true;
		}
		break;
	case 13:
		if (str_eq(key, STR("prompt_tokens"))) {
			c->usage.input = count_of(p, end);
			c->apart = false;
		} else if (str_eq(key, STR("output_tokens"))) {
			c->usage.output = count_of(p, end);
		}
		break;
	case 17:
		if (str_eq(key, STR("completion_tokens")))
			c->usage.output = count_of(p, end);
		break;
	case 23:
		if (str_eq(key, STR("cache_read_input_tokens")))
			c->read = count_of(p, end);
		break;
	case 27:
		if (str_eq(key, STR("cache_creation_input_tokens")))
			c->written = count_of(p, end);
		break;
	}
}

static bool has_details(sl_str key)
{
	return str_eq(key, STR("prompt_tokens_details")) || str_eq(key, STR("input_tokens_details"));
}

/* Reads the object at p. The byte behind it, NULL when it is cut or malformed. */
static const char *read_usage(const char *p, const char *end, struct counts *out, int level)
{
	p = skip_space(p + 1, end);
	if (p < end && *p == '}')
		return p + 1;
	while (p && p < end && *p == '"') {
		const char *name = p + 1, *after = skip_string(p, end);
		if (!after)
			return NULL;
		sl_str key = { name, (size_t) (after - 1 - name) };
		p = skip_space(after, end);
		if (p == end || *p != ':')
			return NULL;
		p = skip_space(p + 1, end);
		if (p == end)
			return NULL;
		bool details = level == 1 && *p == '{' && has_details(key);
		const char *behind = details ? read_usage(p, end, out, LEVELS) : skip_value(p, end);
		if (!behind)
			return NULL;
		if (level == 1)
			take_count(out, key, p, behind);
		else if (str_eq(key, STR("cached_tokens")))
			out->usage.cached = count_of(p, behind);
		p = skip_space(behind, end);
		if (p < end && *p == '}')
			return p + 1;
		if (p == end || *p != ',')
			return NULL;
		p = skip_space(p + 1, end);
	}
	return NULL;
}

/* Is the member's name `name` (with both quotes) at p? Then its value, else NULL. A quote behind a backslash
 * stands in a string, and no backslash stands outside of one. */
static const char *value_of(const char *data, const char *p, const char *end, sl_str name)
{
	if ((size_t) (end - p) < name.len + 2 || memcmp(p, name.ptr, name.len) != 0 || (p > data && p[-1] == '\\'))
		return NULL;
	p = skip_space(p + name.len, end);
	if (p == end || *p != ':')
		return NULL;
	p = skip_space(p + 1, end);
	return p < end ? p : NULL;
}

static bool starts(const char *p, const char *end, sl_str text)
{
	return str_starts((sl_str){ p, (size_t) (end - p) }, text);
}

/* The object at the member "usage" whose name may stand at p, NULL when there is none. */
static const char *usage_at(const char *data, const char *p, const char *end)
{
	const char *value = value_of(data, p, end, STR("\"usage\""));
	return value && *value == '{' ? value : NULL;
}

/* Reads the object at p as one whole: *out is set only when it is. */
static const char *read_whole_usage(const char *p, const char *end, struct body_usage *out)
{
	struct counts counts = { .usage = { -1, -1, -1 }, .read = -1, .written = -1 };
	const char *behind = read_usage(p, end, &counts, 1);
	if (!behind)
		return NULL;
	*out = counts.usage;
	if (counts.read >= 0)
		out->cached = counts.read;
	if (counts.apart && out->input >= 0)
		out->input += (counts.read > 0 ? counts.read : 0) + (counts.written > 0 ? counts.written : 0);
	return behind;
}

/* The search goes backwards: engines put usage last. An object that is cut or malformed ends it, which also keeps
 * hostile nesting from costing more than linear time. */
bool body_find_usage(const char *data, size_t len, struct body_usage *out)
{
	const char *end = data + len, *found_at;
	size_t at = len;
	*out = (struct body_usage){ -1, -1, -1 };
#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"'), letter = _mm_set1_epi8('u');
	while (at >= 17) {
		const char *p = data + at - 17;
		__m128i found = _mm_and_si128(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) p), quote),
		                              _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) (p + 1)), letter));
		unsigned bits = (unsigned) _mm_movemask_epi8(found);
		while (bits) {
			unsigned bit = 31 - (unsigned) __builtin_clz(bits);
			found_at = usage_at(data, p + bit, end);
			if (found_at)
				return read_whole_usage(found_at, end, out) != NULL;
			bits &= ~(1u << bit);
		}
		at -= 16;
	}
#endif
	while (at-- > 0) {
		found_at = data[at] == '"' ? usage_at(data, data + at, end) : NULL;
		if (found_at)
			return read_whole_usage(found_at, end, out) != NULL;
	}
	return false;
}

/* Python's truth of the value at p, since that is how clients judge it. */
static bool is_truthy(const char *p, const char *end)
{
	const char *behind = skip_value(p, end);
	if (!behind || *p == 'n' || *p == 'f')
		return false;
	if (*p == '"')
		return behind - p > 2;
	if (*p == '{' || *p == '[')
		return skip_space(p + 1, end) != behind - 1;
	for (; p < behind && (*p | 0x20) != 'e'; p++)
		if (*p >= '1' && *p <= '9')
			return true;
		else if (*p == 't')
			return true;
	return false;
}

/* The state of a walk through one event. */
struct walk {
	const char *data, *end;
	const char *depth_at; /* up to here brackets were counted */
	size_t depth;
	bool usage_broken;
};

/* How many brackets are open at `to`, which is outside of a string and behind any earlier one. */
static size_t depth_at(struct walk *w, const char *to)
{
	const char *p = w->depth_at;
	while (p && p < to) {
		if (*p == '"') {
			p = skip_string(p, to);
			continue;
		}
		w->depth += *p == '{' || *p == '[';
		w->depth -= w->depth > 0 && (*p == '}' || *p == ']');
		p++;
	}
	w->depth_at = to;
	return w->depth;
}

/* The member from p to `behind` and one comma beside it. */
static struct body_span with_comma(const char *data, const char *p, const char *behind, const char *end)
{
	const char *start = p, *next = skip_space(behind, end);
	while (start > data && is_space(start[-1]))
		start--;
	if (start > data && start[-1] == ',')
		return (struct body_span){ (uint32_t) (start - 1 - data), (uint32_t) (behind - data) };
	if (next < end && *next == ',')
		behind = next + 1;
	return (struct body_span){ (uint32_t) (p - data), (uint32_t) (behind - data) };
}

/* The use at p. Where to go on. */
static const char *event_usage(struct walk *w, const char *p, struct body_event *out)
{
	const char *value = w->usage_broken ? NULL : usage_at(w->data, p, w->end);
	if (!value)
		return p + 1;
	const char *behind = read_whole_usage(value, w->end, &out->usage);
	w->usage_broken = !behind;
	if (!behind)
		return p + 1;
	out->has_usage = true;
	out->usage_at = with_comma(w->data, p, behind, w->end);
	return behind;
}

/* What the member named at p, if one of ours is named there, says. Where to go on. */
static const char *event_member(struct walk *w, const char *p, struct body_event *out)
{
	const char *value;
	if (w->end - p < 2)
		return w->end;
	switch (p[1]) {
	case 'u':
		return event_usage(w, p, out);
	case 'e':
		value = out->error ? NULL : value_of(w->data, p, w->end, STR("\"error\""));
		if (value && depth_at(w, p) == 1)
			out->error = is_truthy(value, w->end);
		break;
	case 'f':
		value = value_of(w->data, p, w->end, STR("\"finish_reason\""));
		if (value && *value == '"')
			out->finished = true;
		break;
	case 'c':
		value = value_of(w->data, p, w->end, STR("\"choices\""));
		if (value && *value == '[') {
			value = skip_space(value + 1, w->end);
			out->choices_empty = value < w->end && *value == ']';
		}
		break;
	}
	return p + 1;
}

#ifdef __SSE2__
enum { PROBE = 19 };

/* Which of the 16 bytes at p are quotes in front of one of our names, by its first and third letter: c and o, e and
 * r, f and n, u and a. That lets in little else, and event_member looks closely. Reads PROBE bytes. */
static inline unsigned probe(const char *p)
{
	__m128i quotes = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) p), _mm_set1_epi8('"'));
	__m128i letters = _mm_xor_si128(_mm_loadu_si128((const __m128i *) (p + 1)), _mm_loadu_si128((const __m128i *) (p + 3)));
	__m128i names = _mm_or_si128(
		_mm_or_si128(_mm_cmpeq_epi8(letters, _mm_set1_epi8('c' ^ 'o')), _mm_cmpeq_epi8(letters, _mm_set1_epi8('e' ^ 'r'))),
		_mm_or_si128(_mm_cmpeq_epi8(letters, _mm_set1_epi8('f' ^ 'n')), _mm_cmpeq_epi8(letters, _mm_set1_epi8('u' ^ 'a'))));
	return (unsigned) _mm_movemask_epi8(_mm_and_si128(quotes, names));
}
#endif

/* The first place at or behind p where one of our names may begin; end when there is none. */
static const char *find_name(const struct walk *w, const char *p)
{
#ifdef __SSE2__
	unsigned bits;
	for (; w->end - p >= PROBE; p += 16) {
		bits = probe(p);
		if (bits)
			return p + __builtin_ctz(bits);
	}
	if (w->end - w->data >= PROBE) {
		/* The rest, in a vector that overlaps what was seen. No name fits into the bytes behind it. */
		const char *last = w->end - PROBE;
		bits = p - last < 16 ? probe(last) >> (p - last) : 0;
		return bits ? p + __builtin_ctz(bits) : w->end;
	}
#endif
	while (p < w->end && *p != '"')
		p++;
	return p;
}

void body_event(const char *data, size_t len, struct body_event *out)
{
	const char *end = data + len;
	struct walk w = { .data = data, .end = end, .depth_at = data };
	*out = (struct body_event){ .usage = { -1, -1, -1 } };
	if (starts(data, end, STR("[DONE]"))) {
		out->done = true;
		return;
	}
	for (const char *p = find_name(&w, data); p < end; p = find_name(&w, p))
		p = event_member(&w, p, out);
}

/* The value of the member "type" of the object, without its quotes. Absent: it has none, or is none. */
static sl_str type_of(const char *data, const char *end)
{
	static const sl_str none = { NULL, 0 };
	const char *p = skip_space(data, end);
	if (p == end || *p != '{')
		return none;
	p = skip_space(p + 1, end);
	while (p < end && *p == '"') {
		const char *name = p, *after = skip_string(p, end);
		if (!after)
			return none;
		p = skip_space(after, end);
		if (p == end || *p != ':')
			return none;
		p = skip_space(p + 1, end);
		const char *behind = p < end ? skip_value(p, end) : NULL;
		if (!behind)
			return none;
		if (after - name == 6 && memcmp(name, "\"type\"", 6) == 0)
			return *p == '"' ? (sl_str){ p + 1, (size_t) (behind - p) - 2 } : none;
		p = skip_space(behind, end);
		if (p == end || *p != ',')
			return none;
		p = skip_space(p + 1, end);
	}
	return none;
}

static bool ends(sl_str s, sl_str tail)
{
	return s.len >= tail.len && memcmp(s.ptr + s.len - tail.len, tail.ptr, tail.len) == 0;
}

static enum body_step messages_step(sl_str type)
{
	if (str_eq(type, STR("content_block_delta")))
		return BODY_STEP_CONTENT;
	if (str_eq(type, STR("message_start")))
		return BODY_STEP_START;
	if (str_eq(type, STR("message_delta")))
		return BODY_STEP_USAGE;
	if (str_eq(type, STR("message_stop")))
		return BODY_STEP_END;
	return BODY_STEP_OTHER;
}

static enum body_step responses_step(sl_str type)
{
	if (ends(type, STR(".delta")))
		return BODY_STEP_CONTENT;
	if (str_eq(type, STR("response.completed")) || str_eq(type, STR("response.incomplete")))
		return BODY_STEP_END;
	return str_eq(type, STR("response.failed")) ? BODY_STEP_FAILED : BODY_STEP_OTHER;
}

enum body_step body_step(const char *data, size_t len, enum body_door door, struct body_usage *usage)
{
	sl_str type = type_of(data, data + len);
	*usage = (struct body_usage){ -1, -1, -1 };
	if (!type.ptr) {
		struct body_event e;
		body_event(data, len, &e);
		return e.error ? BODY_STEP_ERROR : BODY_STEP_OTHER;
	}
	if (str_eq(type, STR("error")))
		return BODY_STEP_ERROR;
	enum body_step step = door == BODY_RESPONSES ? responses_step(type) : messages_step(type);
	if (step == BODY_STEP_CONTENT || step == BODY_STEP_OTHER)
		return step;
	body_find_usage(data, len, usage);
	if (step == BODY_STEP_START)
		usage->output = -1; /* a first count, of what is yet to come */
	return step;
}
