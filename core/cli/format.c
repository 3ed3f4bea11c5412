/* SPDX-License-Identifier: Apache-2.0 */
/* format.c - values as people read them. */
#include <config.h>

#include "core/cli/format.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/cli/cli.h"

enum { MONEY_DIGITS_MAX = 64 };

void format_time(struct buf *out, const struct format_world *world, int64_t ms)
{
	time_t at = (time_t) (ms / 1000), now = (time_t) (world->now_ms / 1000);
	struct tm then = { 0 }, today = { 0 };
	char text[64];
	if (world->utc) {
		gmtime_r(&at, &then);
		gmtime_r(&now, &today);
	} else {
		localtime_r(&at, &then);
		localtime_r(&now, &today);
	}
	bool same_day = then.tm_year == today.tm_year && then.tm_yday == today.tm_yday;
	if (same_day)
		strftime(text, sizeof text, "%H:%M", &then);
	else if (llabs((long long) at - (long long) now) < 6 * 86400)
		strftime(text, sizeof text, "%a %H:%M", &then);
	else
		strftime(text, sizeof text, "%Y-%m-%d", &then);
	buf_puts(out, text);
}

void format_count(struct buf *out, int64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof digits, "%lld", (long long) value);
	for (int i = 0; i < n; i++) {
		buf_put(out, digits + i, 1);
		int left = n - 1 - i;
		if (left && left % 3 == 0 && digits[i] != '-')
			buf_puts(out, ",");
	}
}

static void format_tokens(struct buf *out, int64_t value)
{
	if (value < 1000000)
		format_count(out, value);
	else if (value < 1000000000)
		buf_printf(out, "%lld.%lldM", (long long) (value / 1000000), (long long) (value / 100000 % 10));
	else
		buf_printf(out, "%lld.%lldG", (long long) (value / 1000000000), (long long) (value / 100000000 % 10));
}

void format_bytes(struct buf *out, int64_t value)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	int unit = 0;
	double scaled = (double) value;
	while (scaled >= 1024 && unit < 5) {
		scaled /= 1024;
		unit++;
	}
	if (scaled >= 10 || scaled == floor(scaled))
		buf_printf(out, "%.0f %s", floor(scaled), units[unit]);
	else
		buf_printf(out, "%.1f %s", floor(scaled * 10) / 10, units[unit]);
}

void format_seconds(struct buf *out, double seconds)
{
	char text[48];
	bool sane = seconds > 0 && seconds < 1e15;
	uint64_t ms = sane ? (uint64_t) (seconds * 1000 + 0.5) : 0;
	clock_duration(ms, text, sizeof text);
	buf_puts(out, ms == 0 ? "0s" : text);
}

void format_gpus(struct buf *out, int64_t gpus, const char *kind)
{
	if (gpus <= 0)
		buf_puts(out, "no GPU");
	else if (kind && *kind) {
		buf_printf(out, "%lld x ", (long long) gpus);
		cli_put_clean(out, kind);
	} else
		buf_printf(out, "%lld GPU%s", (long long) gpus, gpus == 1 ? "" : "s");
}

bool format_money_is_zero(const char *decimal)
{
	return decimal[0] != '\0' && strspn(decimal, "-+0.") == strlen(decimal);
}

static bool is_decimal(const char *text)
{
	size_t whole = strspn(text, "0123456789");
	size_t part = text[whole] == '.' ? 1 + strspn(text + whole + 1, "0123456789") : 0;
	return whole > 0 && part != 1 && text[whole + part] == '\0' && whole + part < MONEY_DIGITS_MAX - 4;
}

/* One more in the last place; digits[0] is a spare '0' in front. */
static void round_up(char *digits, size_t len)
{
	for (size_t i = len; i-- > 0;) {
		if (digits[i] == '.')
			continue;
		if (digits[i] != '9') {
			digits[i]++;
			return;
		}
		digits[i] = '0';
	}
}

void format_money(struct buf *out, const char *decimal)
{
	char digits[MONEY_DIGITS_MAX + 8] = "0";
	bool minus = decimal[0] == '-';
	if (!is_decimal(decimal + minus)) {
		cli_put_clean(out, decimal);
		return;
	}
	strcpy(digits + 1, decimal + minus);
	char *point = strchr(digits, '.');
	if (!point) {
		point = digits + strlen(digits);
		strcpy(point, ".");
	}
	size_t decimals = strlen(point + 1);
	if (decimals > 6) {
		bool up = point[7] >= '5';
		point[7] = '\0';
		if (up)
			round_up(digits, strlen(digits));
		decimals = 6;
	}
	while (decimals < 2) {
		strcat(digits, "0");
		decimals++;
	}
	for (size_t end = strlen(digits); decimals > 2 && digits[end - 1] == '0'; decimals--)
		digits[--end] = '\0';
	if (format_money_is_zero(digits) && !format_money_is_zero(decimal + minus)) {
		buf_puts(out, "<0.000001");
		return;
	}
	buf_printf(out, "%s%s", minus ? "-" : "", digits[0] == '0' && digits[1] != '.' ? digits + 1 : digits);
}

int format_state_color(const char *state)
{
	static const struct { const char *word; int color; } words[] = {
		{ "ready", 32 }, { "running", 32 }, { "free", 32 }, { "active", 32 }, { "ok", 32 }, { "OK", 32 },
		{ "queued", 33 }, { "waiting", 33 }, { "requested", 33 }, { "granted", 33 }, { "prepared", 33 },
		{ "starting", 33 }, { "draining", 33 }, { "releasing", 33 }, { "suspended", 33 }, { "preempted", 33 },
		{ "suspending", 33 }, { "resuming", 33 },
		{ "expired", 33 }, { "disabled", 33 }, { "probation", 33 }, { "degraded", 33 },
		{ "failed", 31 }, { "faulty", 31 }, { "lost", 31 }, { "denied", 31 }, { "hung", 31 }, { NULL, 0 }
	};
	for (int i = 0; words[i].word; i++)
		if (strcmp(words[i].word, state) == 0)
			return words[i].color;
	return 0;
}

static void format_text(struct buf *out, const json_t *value)
{
	size_t i;
	json_t *item;
	if (json_is_string(value)) {
		cli_put_clean(out, json_string_length(value) ? json_string_value(value) : "-");
	} else if (json_is_array(value)) {
		json_array_foreach (value, i, item) {
			buf_puts(out, i ? "," : "");
			format_text(out, item);
		}
		if (json_array_size(value) == 0)
			buf_puts(out, "-");
	} else if (json_is_boolean(value)) {
		buf_puts(out, json_is_true(value) ? "yes" : "no");
	} else {
		char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
		buf_puts(out, text ? text : "-");
		free(text);
	}
}

static void format_number(struct buf *out, enum format_kind kind, int64_t n)
{
	switch (kind) {
	case AS_COUNT: format_count(out, n); break;
	case AS_TOKENS: format_tokens(out, n); break;
	case AS_BYTES: format_bytes(out, n); break;
	case AS_PERMILLE: buf_printf(out, "%lld%%", (long long) (n + 5) / 10); break;
	case AS_CELSIUS: buf_printf(out, "%lld C", (long long) n); break;
	case AS_MILLIWATT: buf_printf(out, "%lld W", (long long) (n + 500) / 1000); break;
	default: buf_printf(out, "%lld.%lld", (long long) (n / 3600), (long long) (n % 3600 / 360)); break;
	}
}

void format_value(struct buf *out, const struct format_world *world, enum format_kind kind, const json_t *value)
{
	uint64_t ms;
	bool number = kind != AS_TEXT && kind != AS_STATE && kind != AS_MONEY && kind != AS_TIME;
	if (!value || json_is_null(value))
		buf_puts(out, "-");
	else if (kind == AS_MONEY && json_is_string(value))
		format_money(out, json_string_value(value));
	else if (kind == AS_TIME && json_is_string(value) && clock_parse(str_of(json_string_value(value)), &ms))
		format_time(out, world, (int64_t) ms);
	else if (number && json_is_number(value) && json_number_value(value) < 0)
		buf_puts(out, "-");
	else if (kind == AS_SECONDS && json_is_number(value))
		format_seconds(out, json_number_value(value));
	else if (number && json_is_number(value) && json_number_value(value) < 9e18)
		format_number(out, kind, json_is_integer(value) ? json_integer_value(value)
		              : (int64_t) json_real_value(value));
	else
		format_text(out, value);
}

void format_raw(struct buf *out, const json_t *value)
{
	if (!value || json_is_null(value))
		return;
	if (json_is_string(value)) {
		buf_put(out, json_string_value(value), json_string_length(value));
		return;
	}
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | FORMAT_JSON_REAL);
	buf_puts(out, text ? text : "");
	free(text);
}

size_t format_width(const char *text, size_t len)
{
	size_t width = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\033') {
			while (i < len && text[i] != 'm')
				i++;
			continue;
		}
		width += (text[i] & 0xc0) != 0x80;
	}
	return width;
}
