/* SPDX-License-Identifier: Apache-2.0 */
/* door.h - the doors: their names and paths, and what is done where an engine does not speak the one that was asked. */
#ifndef CORE_GATEWAY_DOOR_H
#define CORE_GATEWAY_DOOR_H

#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/buf.h"
#include "core/gateway/body.h"

struct request;

struct door {
	const char *name;   /* in the ledger, in the log, in policies and engine files */
	const char *path;
	bool generates;     /* its answers are tokens of the model's, which are bounded and billed */
	bool typed;         /* its streams are events with a type, not OpenAI's chunks with a usage to ask for */
	bool anthropic;     /* its errors and heads are worded as Anthropic's */
};
extern const struct door doors[BODY_DOORS]; /* by enum body_door */

/* The version of Anthropic's doors that a head names; without one the oldest. NULL: it is not known. What differs
 * between them is left to the engine; what is translated is the same in all. */
const char *door_version(sl_str name);

/* Settles in which words the engine is spoken to, and translates the body where they are not the client's. False: the
 * request was answered, since the engine does not serve this. Before routing, which hashes what is sent. */
bool door_choose(struct request *r);

/* What of an event is passed on: itself, another text (in the worker's memory), or nothing. *last: it ends the answer,
 * so what is returned is held back. data: the event's. */
sl_str door_event(struct request *r, sl_str event, sl_str data, bool *last);
/* What a stream that ended well still lacks. Into `out`. */
void door_end(struct request *r, struct buf *out);
/* Is the plain answer, whose status is known, to be put into other words? */
bool door_rewrites(const struct request *r);
/* Its body in the client's words. Into `out`. False: it has none. */
bool door_answer(struct request *r, sl_str body, struct buf *out);
/* Is what the client sent the reason for an engine's failure? Answered then. */
bool door_blame(struct request *r);
void door_free(struct request *r);

#endif
