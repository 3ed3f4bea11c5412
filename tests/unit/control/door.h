/* SPDX-License-Identifier: Apache-2.0 */
/* door.h - a control door on a loop of its own thread, and a client for it. */
#ifndef TESTS_UNIT_CONTROL_DOOR_H
#define TESTS_UNIT_CONTROL_DOOR_H

#include <stdatomic.h>

#include "tests/unit/control/fakes.h"

extern atomic_bool door_ready;
extern atomic_int door_reload_code;

/* Opens everything below a new folder; 0 or it is said on stderr. */
int door_open(void);
void door_close(void);
/* On the loop's thread; returns when it was run. */
void door_run(void (*run)(void *arg), void *arg);
struct identity *door_identity(void);
struct quota *door_quota(void);
unsigned door_metrics_port(void);

struct answer {
	int status;
	char *body; /* NUL-terminated, chunks joined */
	json_t *json;
};
/* One request on a connection of its own. body NULL: none. Freed by answer_free. */
struct answer door_call(const char *who, const char *method, const char *path, const char *body);
struct answer door_call_tcp(const char *method, const char *path);
void answer_free(struct answer *answer);

/* A connection with a request sent, for streams. */
int door_connect(const char *who, const char *method, const char *path);
/* Everything up to (and with) `until`, at most 5 s; false: it did not come. Appends to *text (free it). */
bool door_read_until(int fd, const char *until, char **text);

#endif
