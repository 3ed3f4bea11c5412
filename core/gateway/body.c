/* SPDX-License-Identifier: Apache-2.0 */
/* body.c - one pass over a request's JSON body. */
#include "core/gateway/body.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/gateway/body_text.h"

enum { NAME_MAX = BODY_NAME_MAX + 1, PROMPTS_MAX = 2048, N_MAX = 128, BEST_OF_MAX = 20 };

/* Members of the top level that are read. Each may occur once. */
enum field {
	OTHER, MODEL, STREAM, STREAM_OPTIONS, MAX_TOKENS, MAX_COMPLETION_TOKENS, N, BEST_OF, USER, MESSAGES, PROMPT, INPUT,
	TOOLS, SYSTEM, INSTRUCTIONS, MAX_OUTPUT_TOKENS, PREVIOUS_RESPONSE_ID, CONVERSATION, BACKGROUND, QUERY, DOCUMENTS, TEXT_1,
	TEXT_2, QUERIES,
};
static const char *const field_names[] = {
	[MODEL] = "model", [STREAM] = "stream", [STREAM_OPTIONS] = "stream_options", [MAX_TOKENS] = "max_tokens",
	[MAX_COMPLETION_TOKENS] = "max_completion_tokens", [N] = "n", [BEST_OF] = "best_of", [USER] = "user",
	[MESSAGES] = "messages", [PROMPT] = "prompt", [INPUT] = "input", [TOOLS] = "tools", [SYSTEM] = "system",
	[INSTRUCTIONS] = "instructions", [MAX_OUTPUT_TOKENS] = "max_output_tokens",
	[PREVIOUS_RESPONSE_ID] = "previous_response_id", [CONVERSATION] = "conversation", [BACKGROUND] = "background",
	[QUERY] = "query", [DOCUMENTS] = "documents", [TEXT_1] = "text_1", [TEXT_2] = "text_2", [QUERIES] = "queries",
};

/* Names by their length. */
static const struct name {
	const char *text;
	enum field field;
} names[][6] = {
	[1] = { { "n", N } },
	[4] = { { "user", USER } },
	[5] = { { "model", MODEL }, { "tools", TOOLS }, { "input", INPUT }, { "query", QUERY } },
	[6] = { { "stream", STREAM }, { "prompt", PROMPT }, { "system", SYSTEM }, { "text_1", TEXT_1 }, { "text_2", TEXT_2 } },
	[7] = { { "best_of", BEST_OF }, { "queries", QUERIES } },
	[8] = { { "messages", MESSAGES } },
	[9] = { { "documents", DOCUMENTS } },
	[10] = { { "max_tokens", MAX_TOKENS }, { "background", BACKGROUND } },
	[12] = { { "instructions", INSTRUCTIONS }, { "conversation", CONVERSATION } },
	[14] = { { "stream_options", STREAM_OPTIONS } },
	[17] = { { "max_output_tokens", MAX_OUTPUT_TOKENS } },
	[20] = { { "previous_response_id", PREVIOUS_RESPONSE_ID } },
	[21] = { { "max_completion_tokens", MAX_COMPLETION_TOKENS } },
};

/* What a door reads, and what is cut out there since an engine could take it although it belongs to another door. What
 * is neither goes on as it is. */
#define BIT(field) (1u << (field))
enum {
	GENERATION = BIT(STREAM) | BIT(STREAM_OPTIONS) | BIT(MAX_TOKENS) | BIT(MAX_COMPLETION_TOKENS) | BIT(MAX_OUTPUT_TOKENS) | BIT(N) |
	             BIT(BEST_OF),
	PROMPTS = BIT(MESSAGES) | BIT(PROMPT) | BIT(INPUT),
	OPENAI = BIT(MODEL) | (GENERATION & ~BIT(MAX_OUTPUT_TOKENS)) | BIT(USER) | PROMPTS | BIT(TOOLS),
};
static const struct door_fields {
	uint32_t reads, cuts;
	enum field prompt, preface; /* both are among what is read; preface OTHER: none */
	uint32_t required;          /* beside the model */
} door_fields[BODY_DOORS] = {
	[BODY_CHAT] = { OPENAI, 0, MESSAGES, OTHER, BIT(MESSAGES) },
	[BODY_COMPLETIONS] = { OPENAI, 0, PROMPT, OTHER, BIT(PROMPT) },
	[BODY_EMBEDDINGS] = { OPENAI & ~BIT(MESSAGES), BIT(MESSAGES), INPUT, OTHER, BIT(INPUT) },
	[BODY_RESPONSES] = { BIT(MODEL) | BIT(STREAM) | BIT(INPUT) | BIT(INSTRUCTIONS) | BIT(MAX_OUTPUT_TOKENS) | BIT(USER) | BIT(TOOLS) |
	                     BIT(PREVIOUS_RESPONSE_ID) | BIT(CONVERSATION) | BIT(BACKGROUND) | BIT(PROMPT),
	                     (GENERATION & ~BIT(STREAM) & ~BIT(STREAM_OPTIONS) & ~BIT(MAX_OUTPUT_TOKENS)) | BIT(MESSAGES), INPUT, INSTRUCTIONS,
	                     BIT(INPUT) },
	[BODY_RERANK] = { BIT(MODEL) | BIT(QUERY) | BIT(DOCUMENTS), GENERATION | PROMPTS, DOCUMENTS, QUERY, BIT(QUERY) | BIT(DOCUMENTS) },
	[BODY_SCORE] = { BIT(MODEL) | BIT(TEXT_1) | BIT(TEXT_2), GENERATION | PROMPTS | BIT(QUERIES) | BIT(DOCUMENTS), TEXT_2, TEXT_1,
	                 BIT(TEXT_1) | BIT(TEXT_2) },
	[BODY_MESSAGES] = { BIT(MODEL) | BIT(STREAM) | BIT(MAX_TOKENS) | BIT(MESSAGES) | BIT(SYSTEM) | BIT(TOOLS),
	                    (GENERATION & ~BIT(STREAM) & ~BIT(MAX_TOKENS)) | BIT(PROMPT) | BIT(INPUT), MESSAGES, SYSTEM,
	                    BIT(MAX_TOKENS) | BIT(MESSAGES) },
	[BODY_COUNT_TOKENS] = { BIT(MODEL) | BIT(MESSAGES) | BIT(SYSTEM) | BIT(TOOLS), GENERATION | BIT(PROMPT) | BIT(INPUT), MESSAGES, SYSTEM,
	                        BIT(MESSAGES) },
};

/* Which object a member stands in. */
enum level { PLAIN, TOP, OPTIONS };

struct scan {
	const char *start, *at, *end;
	struct body *out;
	struct body_reject *why;
	const struct body_strip *strip;
	const struct door_fields *fields;
	enum {
		ELSEWHERE,
		PARTS,           /* of a prompt: media count here */
		SERVER_TOOLS     /* tools of a door whose servers run some themselves */
	} inside;
	uint32_t seen;           /* a bit for each field */
};

struct key {
	const char *start;   /* its opening quote */
	const char *end;     /* behind its closing quote */
	sl_str text;         /* unescaped; absent when it is longer than any name that we know */
	char room[NAME_MAX]; /* where an escaped one is unescaped to */
};

static bool value(struct scan *s, unsigned depth);
static bool object(struct scan *s, unsigned depth, enum level level);

__attribute__((format(printf, 4, 5), cold)) static bool refuse(struct scan *s, const char *code, const char *param,
                                                              const char *format, ...)
{
	va_list args;
	va_start(args, format);
	s->why->code = code;
	s->why->param = param;
	s->why->offset = (size_t) (s->at - s->start);
	vsnprintf(s->why->message, sizeof s->why->message, format, args);
	va_end(args);
	return false;
}

__attribute__((cold)) static bool invalid_json(struct scan *s, const char *place, const char *expected)
{
	s->at = place;
	return refuse(s, "invalid_json", NULL, "The body is not valid JSON: at byte %zu %s.", (size_t) (place - s->start),
	              place >= s->end ? "it ends too early" : expected);
}

__attribute__((cold)) static bool invalid_value(struct scan *s, enum field field, const char *rule)
{
	return refuse(s, "invalid_value", field_names[field], "%s %s.", field_names[field], rule);
}

/* The next byte that is not white space, NUL at the end. */
static inline char peek(struct scan *s)
{
	while (s->at < s->end) {
		unsigned char c = (unsigned char) *s->at;
		if (c > ' ')
			return (char) c;
		if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
			break;
		s->at++;
	}
	return '\0';
}

static inline uint32_t offset(const struct scan *s, const char *p)
{
	return (uint32_t) (p - s->start);
}

/* The string at s->at; *inside is what stands between its quotes. */
static bool string(struct scan *s, sl_str *inside, bool *escaped)
{
	const char *bad, *end = body_skip_string(s->at, s->end, escaped, &bad);
	if (!end)
		return invalid_json(s, bad, "a string has a byte or an escape that cannot stand there");
	*inside = (sl_str){ s->at + 1, (size_t) (end - s->at) - 2 };
	s->at = end;
	return true;
}

static bool number(struct scan *s, bool *whole)
{
	const char *bad, *end = body_skip_number(s->at, s->end, whole, &bad);
	if (!end)
		return invalid_json(s, bad, "a number is malformed");
	s->at = end;
	return true;
}

static bool literal(struct scan *s, const char *text, size_t len)
{
	if ((size_t) (s->end - s->at) < len || memcmp(s->at, text, len) != 0)
		return invalid_json(s, s->at, "stands something that is no value");
	s->at += len;
	return true;
}

static bool too_deep(struct scan *s)
{
	return refuse(s, "body_too_deep", NULL, "The body is nested deeper than %d levels.", BODY_DEPTH_MAX);
}

/* Behind a value in an array or object: true with *more = false at `close`, with *more = true behind a comma. */
static inline bool next(struct scan *s, char close, bool *more)
{
	char c = peek(s);
	*more = c == ',';
	if (c != ',' && c != close)
		return invalid_json(s, s->at, "a comma or a closing bracket is missing");
	s->at++;
	return true;
}

static bool array(struct scan *s, unsigned depth)
{
	bool more = true;
	if (depth > BODY_DEPTH_MAX)
		return too_deep(s);
	s->at++;
	if (peek(s) == ']') {
		s->at++;
		return true;
	}
	while (more)
		if (!value(s, depth) || !next(s, ']', &more))
			return false;
	return true;
}

/* Any value at s->at. depth: of what it stands in. */
static bool value(struct scan *s, unsigned depth)
{
	sl_str inside = { NULL, 0 };
	bool flag;
	switch (peek(s)) {
	case '"': return string(s, &inside, &flag);
	case '{': return object(s, depth + 1, PLAIN);
	case '[': return array(s, depth + 1);
	case 't': return literal(s, "true", 4);
	case 'f': return literal(s, "false", 5);
	case 'n': return literal(s, "null", 4);
	case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
		return number(s, &flag);
	}
	return invalid_json(s, s->at, "stands something that is no value");
}

static bool is_null(struct scan *s)
{
	return peek(s) == 'n';
}

/* A boolean or null; null is false. */
static bool boolean(struct scan *s, const char *param, bool *out)
{
	char c = peek(s);
	*out = c == 't';
	if (s->at < s->end && c != 't' && c != 'f' && c != 'n')
		return refuse(s, "invalid_value", param, "%s must be true or false.", param);
	return value(s, 0);
}

__attribute__((cold)) static bool out_of_range(struct scan *s, enum field field, int64_t min, int64_t max)
{
	return refuse(s, "invalid_value", field_names[field], "%s must be a whole number from %lld to %lld.",
	              field_names[field], (long long) min, (long long) max);
}

/* A whole number between min and max, or null, which leaves *out alone. */
static bool integer(struct scan *s, enum field field, int64_t min, int64_t max, int64_t *out)
{
	bool whole = false;
	uint64_t n = 0;
	if (is_null(s))
		return value(s, 0);
	const char *start = s->at;
	if (start < s->end && *start != '-' && (*start < '0' || *start > '9'))
		return out_of_range(s, field, min, max);
	if (!number(s, &whole))
		return false;
	if (!whole || !str_to_u64((sl_str){ start, (size_t) (s->at - start) }, (uint64_t) max, &n) || n < (uint64_t) min)
		return out_of_range(s, field, min, max);
	*out = (int64_t) n;
	return true;
}

/* `name` is NUL-terminated behind its length. */
static bool model_chars_ok(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return len > 0 && !strstr(name, "\xef\xbb\xbf");
}

static bool model(struct scan *s)
{
	sl_str inside = { NULL, 0 };
	bool escaped = false;
	size_t len;
	char *out = s->out->model;
	if (peek(s) != '"')
		return s->at < s->end ? invalid_value(s, MODEL, "must be a string") : value(s, 0);
	if (!string(s, &inside, &escaped))
		return false;
	switch (body_unescape(inside, out, SL_NAME_MAX - 1, &len)) {
	case BODY_TOO_LONG:
		return invalid_value(s, MODEL, "is longer than 63 bytes");
	case BODY_LONE_SURROGATE:
		return invalid_value(s, MODEL, "has half of a surrogate pair");
	case BODY_UNESCAPED:
		break;
	}
	out[len] = '\0';
	if (!model_chars_ok(out, len))
		return invalid_value(s, MODEL, "must be a name without control characters");
	return true;
}

static bool user(struct scan *s)
{
	if (peek(s) != '"' && !is_null(s) && s->at < s->end)
		return invalid_value(s, USER, "must be a string");
	const char *start = s->at;
	if (!value(s, 0))
		return false;
	if (*start == '"')
		s->out->user = (struct body_span){ offset(s, start), offset(s, s->at) };
	return true;
}

/* What an element of a prompt list is: all must be of one kind. */
enum kind { TEXT = '"', TOKEN = '0', TOKENS = '[' };

static bool token(struct scan *s, enum field field)
{
	bool whole = false;
	char c = peek(s);
	if (s->at < s->end && (c < '0' || c > '9'))
		return invalid_value(s, field, "has a list of tokens with something else in it");
	if (!number(s, &whole))
		return false;
	return whole || invalid_value(s, field, "has a token that is not a whole number");
}

static bool token_list(struct scan *s, enum field field)
{
	bool more = true;
	s->at++;
	if (peek(s) == ']')
		return invalid_value(s, field, "has an empty list of tokens");
	while (more)
		if (!token(s, field) || !next(s, ']', &more))
			return false;
	return true;
}

static bool prompt_element(struct scan *s, enum field field, enum kind kind)
{
	char c = peek(s);
	if (s->at == s->end)
		return value(s, 0);
	if (kind == TOKEN)
		return token(s, field);
	if (c != (char) kind)
		return invalid_value(s, field, "must be a string or a list of strings or of tokens, all of one kind");
	return kind == TOKENS ? token_list(s, field) : value(s, 0);
}

/* prompt or input: a string, [string], [token] or [[token]]. Each string and each inner list is a prompt. */
static bool prompt(struct scan *s, enum field field)
{
	char c = peek(s);
	bool more = true;
	int64_t n = 0;
	if (c == '"')
		return value(s, 0);
	if (c != '[')
		return s->at < s->end ? invalid_value(s, field, "must be a string or a list") : value(s, 0);
	s->at++;
	c = peek(s);
	if (c == ']')
		return invalid_value(s, field, "must not be empty");
	enum kind kind = c == '"' ? TEXT : c == '[' ? TOKENS : TOKEN;
	for (; more; n++) {
		if (n == PROMPTS_MAX && kind != TOKEN)
			return invalid_value(s, field, "has more than 2048 elements");
		if (!prompt_element(s, field, kind) || !next(s, ']', &more))
			return false;
	}
	s->out->prompts = kind == TOKEN ? 1 : n;
	return true;
}

/* A list of anything but nothing, counted where `n` is not NULL. */
static bool items(struct scan *s, enum field field, int64_t *n)
{
	bool more = true, ok = true;
	int64_t count = 0;
	if (peek(s) != '[')
		return s->at < s->end ? invalid_value(s, field, "must be a list") : value(s, 0);
	s->at++;
	if (peek(s) == ']')
		return invalid_value(s, field, "must not be empty");
	s->inside = PARTS;
	for (; ok && more; count++)
		ok = value(s, 2) && next(s, ']', &more);
	s->inside = ELSEWHERE;
	if (!ok || !n)
		return ok;
	*n = count;
	return count <= PROMPTS_MAX || invalid_value(s, field, "has more than 2048 elements");
}

static bool prompt_of_door(struct scan *s, enum field field)
{
	switch (field) {
	case MESSAGES: return items(s, field, NULL);
	case PROMPT: return prompt(s, field);
	case DOCUMENTS: return items(s, field, &s->out->prompts);
	case TEXT_2: return peek(s) == '"' ? value(s, 1) : items(s, field, &s->out->prompts);
	default: /* input, of embeddings or of responses */
		if (s->fields->preface == OTHER)
			return prompt(s, field);
		return peek(s) == '"' ? value(s, 1) : items(s, field, NULL);
	}
}

static bool prompt_field(struct scan *s, enum field field)
{
	if (field != s->fields->prompt)
		return value(s, 1);
	peek(s);
	const char *start = s->at;
	if (!prompt_of_door(s, field))
		return false;
	s->out->prompt = (struct body_span){ offset(s, start), offset(s, s->at) };
	return true;
}

/* What stands in front of the prompt: a text or a list of parts. Without it, where it may be left out, null. */
static bool preface(struct scan *s, enum field field)
{
	char c = peek(s);
	const char *start = s->at;
	bool optional = !(s->fields->required & BIT(field));
	if (s->at < s->end && c != '"' && c != '[' && !(c == 'n' && optional))
		return invalid_value(s, field, "must be a string or a list");
	s->inside = PARTS;
	bool ok = value(s, 1);
	s->inside = ELSEWHERE;
	if (ok && c != 'n')
		s->out->preface = (struct body_span){ offset(s, start), offset(s, s->at) };
	return ok;
}

static bool tools(struct scan *s)
{
	char c = peek(s);
	const char *start = s->at;
	if (s->fields->preface != OTHER && s->at < s->end && c != '[' && c != 'n')
		return invalid_value(s, TOOLS, "must be a list");
	s->inside = s->fields == &door_fields[BODY_RESPONSES] ? SERVER_TOOLS : ELSEWHERE;
	bool ok = value(s, 1);
	s->inside = ELSEWHERE;
	if (!ok)
		return false;
	s->out->tools = (struct body_span){ offset(s, start), offset(s, s->at) };
	return true;
}

/* What names something that a server keeps between requests: it is not the caller's alone to reach, its length is not
 * known, and it lies in one server of several. */
static bool kept_elsewhere(struct scan *s, enum field field)
{
	if (!is_null(s) && s->at < s->end)
		return invalid_value(s, field, "is not supported: nothing is kept between requests. Send all of it in input");
	return value(s, 1);
}

static bool background(struct scan *s)
{
	bool on = false;
	if (!boolean(s, field_names[BACKGROUND], &on))
		return false;
	return !on || invalid_value(s, BACKGROUND, "is not supported: the answer comes on the connection that asked for it");
}

static bool stream_options(struct scan *s)
{
	if (is_null(s))
		return value(s, 1);
	if (peek(s) != '{')
		return s->at < s->end ? invalid_value(s, STREAM_OPTIONS, "must be an object") : value(s, 1);
	return object(s, 2, OPTIONS);
}

static struct body_member member_at(const struct scan *s, const struct key *key, const char *start)
{
	return (struct body_member){ { offset(s, key->start), offset(s, key->end) }, { offset(s, start), offset(s, s->at) } };
}

static bool engine_only(struct scan *s, const struct key *key, const char *name)
{
	const char *start = s->at;
	if (!value(s, 1))
		return false;
	if (s->out->n_engine_only == BODY_STRIP_MAX)
		return refuse(s, "invalid_value", NULL, "The body has more than %d members that only engines know.",
		              BODY_STRIP_MAX);
	s->out->engine_only_name[s->out->n_engine_only] = name;
	s->out->engine_only[s->out->n_engine_only++] = member_at(s, key, start);
	return true;
}

static enum field field_of(sl_str name)
{
	if (!name.ptr || name.len >= sizeof names / sizeof names[0])
		return OTHER;
	for (const struct name *n = names[name.len]; n->text; n++)
		if (memcmp(n->text, name.ptr, name.len) == 0)
			return n->field;
	return OTHER;
}

static bool member_of_top(struct scan *s, const struct key *key)
{
	struct body *out = s->out;
	enum field field = field_of(key->text);
	if (field == OTHER) {
		const char *name = body_strip_find(s->strip, key->text);
		return name ? engine_only(s, key, name) : value(s, 1);
	}
	if (!(s->fields->reads & BIT(field)))
		return s->fields->cuts & BIT(field) ? engine_only(s, key, NULL) : value(s, 1);
	if (s->seen & BIT(field)) {
		s->at = key->start;
		return refuse(s, "duplicate_field", field_names[field], "%s occurs twice.", field_names[field]);
	}
	s->seen |= BIT(field);
	const char *start = s->at;
	struct body_member *at = NULL;
	int64_t bound = -1;
	bool ok = false;
	switch (field) {
	case MODEL: at = &out->model_at, ok = model(s); break;
	case STREAM: at = &out->stream_at, ok = boolean(s, field_names[STREAM], &out->stream); break;
	case STREAM_OPTIONS: at = &out->stream_options_at, ok = stream_options(s); break;
	case MAX_TOKENS: at = &out->max_tokens_at, ok = integer(s, field, 1, INT32_MAX, &bound); break;
	case MAX_COMPLETION_TOKENS:
		at = &out->max_completion_tokens_at, ok = integer(s, field, 1, INT32_MAX, &bound);
		break;
	case MAX_OUTPUT_TOKENS: at = &out->max_output_tokens_at, ok = integer(s, field, 1, INT32_MAX, &bound); break;
	case N: ok = integer(s, field, 1, N_MAX, &out->n); break;
	case BEST_OF: ok = integer(s, field, 0, BEST_OF_MAX, &out->best_of); break;
	case USER: ok = user(s); break;
	case TOOLS: ok = tools(s); break;
	case SYSTEM: case INSTRUCTIONS: case QUERY: case TEXT_1: ok = preface(s, field); break;
	case PREVIOUS_RESPONSE_ID: case CONVERSATION: ok = kept_elsewhere(s, field); break;
	case BACKGROUND: ok = background(s); break;
	default: ok = field == PROMPT && s->fields->preface != OTHER ? kept_elsewhere(s, field) : prompt_field(s, field); break;
	}
	if (ok && at)
		*at = member_at(s, key, start);
	if (bound > out->max_output)
		out->max_output = bound;
	return ok;
}

static bool member_of_options(struct scan *s, const struct key *key)
{
	bool running = str_eq(key->text, STR("continuous_usage_stats"));
	if (!running && !str_eq(key->text, STR("include_usage")))
		return value(s, 2);
	const char *param = running ? "stream_options.continuous_usage_stats" : "stream_options.include_usage";
	struct body_member *at = running ? &s->out->running_usage_at : &s->out->include_usage_at;
	if (at->value.end)
		return refuse(s, "duplicate_field", param, "%s occurs twice.", param);
	const char *start = s->at;
	if (!boolean(s, param, running ? &s->out->running_usage : &s->out->include_usage))
		return false;
	*at = member_at(s, key, start);
	return true;
}

static bool is_media_member(sl_str name)
{
	switch (name.len) {
	case 9: return str_eq(name, STR("image_url")) || str_eq(name, STR("audio_url")) || str_eq(name, STR("video_url"));
	case 11: return str_eq(name, STR("input_audio"));
	case 12: return str_eq(name, STR("image_embeds")) || str_eq(name, STR("audio_embeds"));
	}
	return false;
}

static bool is_media_type(sl_str type)
{
	switch (type.len) {
	case 4: return str_eq(type, STR("file"));
	case 5: return str_eq(type, STR("image"));
	case 8: return str_eq(type, STR("document"));
	case 10: return str_eq(type, STR("input_file"));
	case 11: return str_eq(type, STR("input_image")) || is_media_member(type);
	}
	return is_media_member(type);
}

/* The text of a string that may be escaped; absent when it is longer than `room`. */
static sl_str plain(sl_str inside, bool escaped, char *room, size_t size)
{
	size_t len;
	if (!escaped)
		return inside;
	if (body_unescape(inside, room, size, &len) != BODY_UNESCAPED)
		return (sl_str){ NULL, 0 };
	return (sl_str){ room, len };
}

/* A member of an object in the prompt: is that object a part with media? Its "type" says so, or, where that is
 * missing, a member that only such parts have. */
static bool member_of_prompt(struct scan *s, const struct key *key, unsigned depth, bool *media)
{
	char room[NAME_MAX];
	sl_str inside = { NULL, 0 };
	bool escaped;
	if (!str_eq(key->text, STR("type")) || peek(s) != '"') {
		*media = *media || is_media_member(key->text);
		return value(s, depth);
	}
	if (!string(s, &inside, &escaped))
		return false;
	*media = *media || is_media_type(plain(inside, escaped, room, sizeof room));
	return true;
}

/* A member of something in the list of tools. What a server runs itself takes turns that no bound of ours is on, so only
 * the caller's own tools pass. */
static bool member_of_tool(struct scan *s, const struct key *key, unsigned depth)
{
	enum { OF_A_TOOL = 3 };
	char room[NAME_MAX];
	sl_str inside = { NULL, 0 };
	bool escaped;
	if (depth != OF_A_TOOL || !str_eq(key->text, STR("type")) || peek(s) != '"')
		return value(s, depth);
	if (!string(s, &inside, &escaped))
		return false;
	sl_str type = plain(inside, escaped, room, sizeof room);
	return str_eq(type, STR("function")) || str_eq(type, STR("custom")) ||
	       invalid_value(s, TOOLS, "may be of type function or custom only: others would run in the model's server");
}

static bool member(struct scan *s, const struct key *key, unsigned depth, enum level level, bool *media)
{
	peek(s);
	if (level == TOP)
		return member_of_top(s, key);
	if (level == OPTIONS)
		return member_of_options(s, key);
	if (s->inside == ELSEWHERE)
		return value(s, depth);
	return s->inside == PARTS ? member_of_prompt(s, key, depth, media) : member_of_tool(s, key, depth);
}

/* A name and its colon. */
static bool member_name(struct scan *s, struct key *key)
{
	sl_str inside = { NULL, 0 };
	bool escaped;
	if (peek(s) != '"')
		return invalid_json(s, s->at, "a member's name is missing");
	key->start = s->at;
	if (!string(s, &inside, &escaped))
		return false;
	key->end = s->at;
	key->text = plain(inside, escaped, key->room, sizeof key->room);
	if (peek(s) != ':')
		return invalid_json(s, s->at, "a colon is missing");
	s->at++;
	return true;
}

static bool object(struct scan *s, unsigned depth, enum level level)
{
	bool media = false, more = true;
	if (depth > BODY_DEPTH_MAX)
		return too_deep(s);
	s->at++;
	if (peek(s) == '}') {
		s->at++;
		if (level == TOP)
			s->out->empty = true;
		return true;
	}
	while (more) {
		struct key key;
		if (!member_name(s, &key) || !member(s, &key, depth, level, &media) || !next(s, '}', &more))
			return false;
	}
	s->out->media_parts += media;
	return true;
}

static bool required(struct scan *s, enum field field)
{
	if (s->seen & BIT(field))
		return true;
	return refuse(s, "missing_field", field_names[field], "%s is missing.", field_names[field]);
}

/* What the document lacks as a whole, and sums of what it has. */
static bool conclude(struct scan *s)
{
	struct body *out = s->out;
	const struct door_fields *fields = s->fields;
	if (!required(s, MODEL))
		return false;
	for (uint32_t rest = fields->required; rest; rest &= rest - 1)
		if (!required(s, (enum field) __builtin_ctz(rest)))
			return false;
	if (fields->required & BIT(MAX_TOKENS) && out->max_output < 0)
		return invalid_value(s, MAX_TOKENS, "must be a whole number");
	int64_t before = (int64_t) (out->preface.end - out->preface.start);
	out->prompt_bytes = (int64_t) (out->prompt.end - out->prompt.start) + (int64_t) (out->tools.end - out->tools.start);
	/* Of rerank and score each document is read together with the query; of the others there is but one prompt. */
	out->prompt_bytes += fields->preface == OTHER ? 0 : before * out->prompts;
	return true;
}

bool body_scan(const char *data, size_t len, enum body_door door, const struct body_strip *strip, struct body *out,
               struct body_reject *why)
{
	struct scan s = { .start = data, .at = data, .end = data + len, .out = out, .why = why, .strip = strip,
		          .fields = &door_fields[door] };
	memset(out, 0, sizeof *out);
	out->max_output = -1;
	out->n = 1;
	out->prompts = 1;
	char c = peek(&s);
	if (s.at == s.end)
		return refuse(&s, "invalid_json", NULL, "The body is empty; a JSON object is expected.");
	if (c != '{')
		return refuse(&s, "invalid_json", NULL, "The body is not a JSON object.");
	out->open = (struct body_span){ offset(&s, s.at), offset(&s, s.at) + 1 };
	if (!object(&s, 1, TOP))
		return false;
	peek(&s);
	if (s.at != s.end)
		return invalid_json(&s, s.at, "something follows the object");
	return conclude(&s);
}
