/* SPDX-License-Identifier: Apache-2.0 */
/* doors.c - the table of the doors. */
#include "core/conf/conf.h"
#include "core/gateway/door.h"

const struct door doors[BODY_DOORS] = {
	[0] = { .name = "", .path = "" },
	[BODY_CHAT] = { .name = "chat", .path = "/v1/chat/completions", .generates = true },
	[BODY_COMPLETIONS] = { .name = "completions", .path = "/v1/completions", .generates = true },
	[BODY_EMBEDDINGS] = { .name = "embeddings", .path = "/v1/embeddings" },
	[BODY_RESPONSES] = { .name = "responses", .path = "/v1/responses", .generates = true, .typed = true },
	[BODY_RERANK] = { .name = "rerank", .path = "/v1/rerank" },
	[BODY_SCORE] = { .name = "score", .path = "/v1/score" },
	[BODY_MESSAGES] = { .name = "messages", .path = "/v1/messages", .generates = true, .typed = true, .anthropic = true },
	[BODY_COUNT_TOKENS] = { .name = "count_tokens", .path = "/v1/messages/count_tokens", .anthropic = true },
};
_Static_assert((int) CONF_DOORS == (int) BODY_DOORS && (int) CONF_DOOR_CHAT == (int) BODY_CHAT &&
               (int) CONF_DOOR_RESPONSES == (int) BODY_RESPONSES && (int) CONF_DOOR_SCORE == (int) BODY_SCORE &&
               (int) CONF_DOOR_COUNT_TOKENS == (int) BODY_COUNT_TOKENS, "the same doors in the same order");
