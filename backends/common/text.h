/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - small things about text that the backends share. */
#ifndef BACKENDS_COMMON_TEXT_H
#define BACKENDS_COMMON_TEXT_H

#include <sluice/backend.h>
#include <stddef.h>

/* Fills the error (NULL is allowed) and returns the code. */
int text_fail(sl_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Copies, cut to the room, always terminated. */
void text_copy(char *out, size_t room, const char *text);
/* Appends, cut to the room. */
void text_append(char *out, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* An option's text as a string of its own; NULL: not set, or out of memory. */
char *text_option(const sl_host *host, const sl_conf *conf, const char *name);

/* One variable more. SL_EFULL: no room. */
int text_env(sl_env *env, size_t room, size_t *n, const char *name, const char *value, sl_error *error);
/* "A,B,C" into a variable. */
int text_env_list(sl_env *env, size_t room, size_t *n, const char *name, const char *const *values, size_t n_values,
                  sl_error *error);

/* What people ask for, from the maker's name of a model and its memory: "NVIDIA H100 80GB HBM3" is "h100-80g",
 * "Instinct MI300X" is "mi300x-192g". */
void text_kind(char *out, size_t room, const char *model, unsigned long long memory_bytes);

#endif
