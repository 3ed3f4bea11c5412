/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.h - gets one small document at a time: over HTTP, without blocking the caller, or from a file. */
#ifndef PLUGINS_AUTH_JWT_FETCH_H
#define PLUGINS_AUTH_JWT_FETCH_H

#include <stdbool.h>
#include <sluice/types.h>

enum { DOCUMENT_MAX = 256 * 1024 };
enum fetch_state { FETCH_RUNNING, FETCH_DONE, FETCH_FAILED };

struct fetch;
/* ca_file NULL: the system's. NULL: out of memory. */
struct fetch *fetch_new(const char *ca_file, unsigned timeout_ms);
void fetch_free(struct fetch *f);

/* Whom we ask for keys must be who they say they are: https, or http to this very machine. */
bool fetch_url_allowed(const char *url);

/* Begins; what was begun before is dropped. */
int fetch_start(struct fetch *f, const char *url, sl_error *error);
/* Goes on. FETCH_DONE once: fetch_text has the document until the next fetch_start. FETCH_FAILED: *error says why. */
enum fetch_state fetch_step(struct fetch *f, sl_error *error);
sl_str fetch_text(const struct fetch *f);
/* Sleeps until something has come in, somebody calls fetch_wake, or the time is over. */
void fetch_wait(struct fetch *f, unsigned ms);
void fetch_wake(struct fetch *f); /* any thread */

/* Reads a file into text, which has DOCUMENT_MAX bytes, and blocks meanwhile. NULL: *len bytes are there; else why not. */
const char *fetch_file(const char *path, char *text, size_t *len);

#endif
