/* SPDX-License-Identifier: Apache-2.0 */
/* body.h - what sluice needs to know of a request's JSON body, found in one pass, in place, without a DOM.
 *
 * The whole document is validated (RFC 8259, UTF-8, depth at most BODY_DEPTH_MAX): what we pass on is JSON.
 * Fields that decide something are read at the top level (stream_options one level down), each door its own, and
 * refused when they occur twice, since we would read one and the engine the other. Names are compared after unescaping. */
#ifndef CORE_GATEWAY_BODY_H
#define CORE_GATEWAY_BODY_H

#include <stdbool.h>
#include <sluice/types.h>

#include "core/gateway/body_strip.h"

enum { BODY_DEPTH_MAX = 64, BODY_STRIP_MAX = 16 };

enum body_door {
	BODY_CHAT = 1, BODY_COMPLETIONS = 2, BODY_EMBEDDINGS = 3, /* OpenAI's */
	BODY_RESPONSES = 4,
	BODY_RERANK = 5, BODY_SCORE = 6,
	BODY_MESSAGES = 7, BODY_COUNT_TOKENS = 8, /* Anthropic's */
	BODY_DOORS
};

/* A place in the body, as offsets. end == 0: the field is not there. */
struct body_span {
	uint32_t start, end;
};

/* A whole member, `"name":value`, as it stands. */
struct body_member {
	struct body_span key;   /* with its quotes */
	struct body_span value;
};

struct body {
	char model[SL_NAME_MAX];       /* unescaped */
	struct body_member model_at;
	bool stream;                   /* false when absent or null */
	struct body_member stream_at;
	struct body_member stream_options_at;
	bool include_usage;            /* stream_options.include_usage is true */
	struct body_member include_usage_at;
	bool running_usage;            /* stream_options.continuous_usage_stats is true */
	struct body_member running_usage_at;
	/* Output bound: the larger of max_tokens and max_completion_tokens, or max_output_tokens; -1: none given. */
	int64_t max_output;
	struct body_member max_tokens_at, max_completion_tokens_at, max_output_tokens_at;
	int64_t n;                     /* 1 when absent */
	int64_t best_of;               /* 0 when absent */
	int64_t prompts;               /* elements of a prompt, input or documents list, 1 otherwise ([int]: 1) */
	struct body_span prompt;       /* value of messages, prompt, input or documents */
	struct body_span preface;      /* value of system, instructions or query: what stands in front of the prompt */
	/* Bytes of all that the model reads: prompt, preface (for each prompt where each is read with it) and tools. */
	int64_t prompt_bytes;
	uint32_t media_parts;          /* objects in the prompt with a "type" of image_url, input_audio, audio_url, video_url,
	                                * image, document, input_image, input_file or file, or, whatever their type, with a
	                                * member of the name of one of the first four */
	struct body_span tools;        /* value: templates put it in front of the messages */
	struct body_span user;         /* value, with quotes */
	struct body_span open;         /* the document's '{', so that a member can be put in behind it */
	bool empty;                    /* no member at all: what is put in gets no comma behind it */
	/* Members that some engine knows and clients may not set, and those that belong to another door only, in the order in which they stand, with the names by which
	 * they were found; NULL: no engine is to see it. More than BODY_STRIP_MAX is refused. */
	struct body_member engine_only[BODY_STRIP_MAX];
	const char *engine_only_name[BODY_STRIP_MAX];
	unsigned n_engine_only;
};

/* Why a body is refused: 400 with this code and parameter. */
struct body_reject {
	const char *code;    /* invalid_json, duplicate_field, invalid_value, missing_field, body_too_deep */
	const char *param;   /* name of the field, NULL: none */
	size_t offset;       /* invalid_json: where */
	char message[160];
};

/* data[len .. len+63] must be readable (content does not matter): the scan reads in vectors. len < 2^31. strip: names
 * of the members that are to be found as engine_only, NULL: none. */
bool body_scan(const char *data, size_t len, enum body_door door, const struct body_strip *strip, struct body *out,
               struct body_reject *why);

/* Use as an engine reports it in an answer or an event. All counts -1 when
 * absent. */
struct body_usage {
	int64_t input, cached, output;
};

/* Finds "usage":{...} in an engine's JSON (an answer's body or one event's data) and reads it, whatever the door calls
 * its counts: prompt_tokens or input_tokens, completion_tokens or output_tokens, cached_tokens in the details of either,
 * cache_read_input_tokens. `input` has what was cached, also where the engine counts it apart, as Anthropic's
 * input_tokens do. False: there is none, or it is null.
 * Negative or absurd numbers read as -1. The raw text `"usage":` cannot stand inside a JSON string, since the
 * quotes in a string are escaped; so the text is searched, not parsed. White space around the colon is allowed. */
bool body_find_usage(const char *data, size_t len, struct body_usage *out);

/* Facts about one streamed event's data. */
struct body_event {
	bool done;           /* [DONE] */
	bool error;          /* an object with a truthy "error" member at the top level */
	bool has_usage;      /* a usage object that is not null */
	bool choices_empty;  /* "choices":[] : with has_usage, the usage-only event */
	bool finished;       /* a finish_reason that is not null */
	struct body_span usage_at; /* the member `"usage":{...}` with one comma beside it, so that cutting it out leaves
	                              valid JSON; end 0: none */
	struct body_usage usage;
};
void body_event(const char *data, size_t len, struct body_event *out);

/* What one event of a stream of typed events is, of the doors messages and responses: its member "type" says so. */
enum body_step {
	BODY_STEP_OTHER,
	BODY_STEP_START,    /* message_start: knows the prompt's tokens */
	BODY_STEP_CONTENT,  /* a piece of the answer */
	BODY_STEP_USAGE,    /* message_delta: why it ends, and its use */
	BODY_STEP_END,      /* the last one, of a whole answer */
	BODY_STEP_FAILED,   /* the last one, which says that the engine failed */
	BODY_STEP_ERROR     /* an error in the place of what was to come; nothing follows */
};
/* usage: what the event tells, -1 where it does not. */
enum body_step body_step(const char *data, size_t len, enum body_door door, struct body_usage *usage);

#endif
