/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line a message on standard error, logfmt. Any thread. */
#ifndef CORE_BASE_LOG_H
#define CORE_BASE_LOG_H

#include <stdbool.h>
#include <sluice/plugin.h>

/* Messages above `level` are dropped. `name` stands in every line ("sluiced"). Call before threads start. */
void log_setup(const char *name, enum sl_log_level level);
bool log_enabled(enum sl_log_level level);
/* ts=... level=info name=sluiced msg="..." */
void log_write(enum sl_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A ready logfmt line without its end; written as it is. */
void log_line(const char *line, size_t len);

/* The same, without blocking the caller: a thread of the log's own writes it. When that cannot keep up, lines are
 * dropped and counted; a later line says how many. Starts the thread on first use. */
void log_queue(const char *line, size_t len);
/* Writes what is queued, for the end of the process. */
void log_flush(void);

#define log_error(...) log_write(SL_LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(SL_LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(SL_LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(SL_LOG_DEBUG, __VA_ARGS__)

#endif
