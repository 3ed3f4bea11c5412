/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - small things about text that the backends share. */
#include "backends/common/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int text_fail(sl_error *error, int code, const char *format, ...)
{
	va_list args;
	if (!error)
		return code;
	error->code = code;
	va_start(args, format);
	vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	return code;
}

void text_copy(char *out, size_t room, const char *text)
{
	snprintf(out, room, "%s", text);
}

void text_append(char *out, size_t room, const char *format, ...)
{
	va_list args;
	size_t len = strlen(out);
	va_start(args, format);
	vsnprintf(out + len, room - len, format, args);
	va_end(args);
}

char *text_option(const sl_host *host, const sl_conf *conf, const char *name)
{
	sl_str value = host->conf_str(conf, name);
	return value.len ? strndup(value.ptr, value.len) : NULL;
}

int text_env(sl_env *env, size_t room, size_t *n, const char *name, const char *value, sl_error *error)
{
	if (strlen(value) >= sizeof env->value)
		return text_fail(error, SL_EFULL, "%s would be longer than %zu bytes", name, sizeof env->value - 1);
	if (*n < room) {
		text_copy(env[*n].name, sizeof env->name, name);
		text_copy(env[*n].value, sizeof env->value, value);
	}
	(*n)++;
	return *n <= room ? SL_OK : text_fail(error, SL_EFULL, "no room for the variable %s", name);
}

int text_env_list(sl_env *env, size_t room, size_t *n, const char *name, const char *const *values, size_t n_values,
                  sl_error *error)
{
	char list[sizeof env->value + 1] = "";
	for (size_t i = 0; i < n_values; i++)
		text_append(list, sizeof list, "%s%s", i ? "," : "", values[i]);
	return text_env(env, room, n, name, list, error);
}

/* Words of a model's name that tell no model from another one. */
static int is_noise(const char *word, size_t len)
{
	static const char *const noise[] = { "nvidia", "tesla", "geforce", "quadro", "amd", "radeon", "instinct", "pro", "graphics" };
	for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
		if (strlen(noise[i]) == len && strncasecmp(noise[i], word, len) == 0)
			return 1;
	return 0;
}

/* Where the name of the model ends and that of its board begins. */
static int is_board(const char *word, size_t len)
{
	static const char *const board[] = { "hbm", "pcie", "sxm", "nvl", "oam", "mig" };
	for (size_t i = 0; i < sizeof board / sizeof *board; i++)
		if (len >= strlen(board[i]) && strncasecmp(board[i], word, strlen(board[i])) == 0)
			return 1;
	return len > 2 && strncasecmp(word + len - 2, "gb", 2) == 0 && isdigit((unsigned char) *word);
}

/* Makers sell round figures, of which the driver and error correction keep some. */
static unsigned long long sold_as(unsigned long long gib)
{
	static const unsigned short sizes[] = { 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 180, 192, 256, 288 };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		if (gib <= sizes[i] && gib * 10 >= sizes[i] * 9ull)
			return sizes[i];
	return gib;
}

void text_kind(char *out, size_t room, const char *model, unsigned long long memory_bytes)
{
	size_t n = 0;
	for (const char *at = model; *at && n + 1 < room;) {
		size_t len = strcspn(at, " -/_()");
		if (len && is_board(at, len))
			break;
		if (len && !is_noise(at, len)) {
			if (n)
				out[n++] = '-';
			for (size_t i = 0; i < len && n + 1 < room; i++)
				out[n++] = (char) tolower((unsigned char) at[i]);
		}
		at += len + (at[len] != '\0');
	}
	out[n] = '\0';
	if (!n)
		text_copy(out, room, "gpu");
	unsigned long long gib = (memory_bytes + (1ull << 29)) >> 30;
	if (gib)
		text_append(out, room, "-%llug", sold_as(gib));
}
