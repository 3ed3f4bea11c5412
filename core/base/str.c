/* SPDX-License-Identifier: Apache-2.0 */
/* str.c - helpers for borrowed strings. */
#include "core/base/str.h"

#include <stdlib.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c + 32) : c;
}

/* Up to eight bytes as one number, with capital letters made small. In each byte's low seven bits: adding what lies
 * between a letter and 128 sets the high bit from that letter on. */
static uint64_t lower_8(const char *p, size_t n)
{
	const uint64_t ones = 0x0101010101010101ull, high = 0x80 * ones;
	uint64_t x = 0;
	if (n == 8)
		memcpy(&x, p, 8);
	else
		memcpy(&x, p, n);
	uint64_t low = x & ~high;
	uint64_t from_a = low + (0x80 - 'A') * ones, behind_z = low + (0x7f - 'Z') * ones;
	uint64_t capital = (from_a ^ behind_z) & high & ~x;
	return x | capital >> 2;
}

bool str_eq_nocase(sl_str a, sl_str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i += 8) {
		size_t n = a.len - i < 8 ? a.len - i : 8;
		if (lower_8(a.ptr + i, n) != lower_8(b.ptr + i, n))
			return false;
	}
	return true;
}

bool str_starts(sl_str s, sl_str prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

sl_str str_trim(sl_str s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

bool str_copy(char *out, size_t room, sl_str s)
{
	size_t n = s.len < room ? s.len : room - 1;
	if (n)
		memcpy(out, s.ptr, n);
	out[n] = '\0';
	return n == s.len;
}

char *str_dup(sl_str s)
{
	char *copy = malloc(s.len + 1);
	if (copy)
		str_copy(copy, s.len + 1, s);
	return copy;
}

bool str_to_u64(sl_str s, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char) s.ptr[i] - '0';
		if (digit > 9 || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return value <= max;
}

static size_t digits_at(sl_str s, size_t at)
{
	size_t n = 0;
	while (at + n < s.len && s.ptr[at + n] >= '0' && s.ptr[at + n] <= '9')
		n++;
	return n;
}

bool str_to_duration_ms(sl_str s, int64_t *out)
{
	static const struct { const char *unit; uint64_t ms; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { "w", 604800000 },
	};
	uint64_t total = 0;
	size_t at = 0;
	if (s.len == 0)
		return false;
	while (at < s.len) {
		size_t n = digits_at(s, at);
		uint64_t value;
		if (!str_to_u64((sl_str){ s.ptr + at, n }, 1000000000000ull, &value))
			return false;
		at += n;
		size_t unit_len = 0;
		while (at + unit_len < s.len && (s.ptr[at + unit_len] < '0' || s.ptr[at + unit_len] > '9'))
			unit_len++;
		uint64_t ms = unit_len == 0 && total == 0 ? 1000 : 0;
		for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
			if (str_eq((sl_str){ s.ptr + at, unit_len }, str_of(units[i].unit)))
				ms = units[i].ms;
		if (ms == 0 || value > (uint64_t) INT64_MAX / 4 / ms)
			return false;
		total += value * ms;
		at += unit_len;
		if (total > (uint64_t) INT64_MAX / 4)
			return false;
	}
	*out = (int64_t) total;
	return true;
}

bool str_to_decimal(sl_str s, int digits, int64_t *out)
{
	uint64_t scale = 1;
	for (int i = 0; i < digits; i++)
		scale *= 10;
	size_t whole_len = digits_at(s, 0);
	uint64_t whole, part = 0;
	if (!str_to_u64((sl_str){ s.ptr, whole_len }, INT64_MAX / scale - 1, &whole))
		return false;
	if (whole_len < s.len) {
		size_t part_len = digits_at(s, whole_len + 1);
		if (s.ptr[whole_len] != '.' || part_len == 0 || whole_len + 1 + part_len != s.len)
			return false;
		while (part_len > (size_t) digits && s.ptr[whole_len + part_len] == '0')
			part_len--;
		if (part_len > (size_t) digits)
			return false;
		for (int i = 0; i < digits; i++) {
			uint64_t digit = (size_t) i < part_len ? (uint64_t) (s.ptr[whole_len + 1 + (size_t) i] - '0') : 0;
			part = part * 10 + digit;
		}
	}
	*out = (int64_t) (whole * scale + part);
	return true;
}

bool str_to_bytes(sl_str s, int64_t *out)
{
	static const char letters[] = "KMGTP";
	size_t n = 0;
	while (n < s.len && ((s.ptr[n] >= '0' && s.ptr[n] <= '9') || s.ptr[n] == '.'))
		n++;
	int64_t milli;
	if (!str_to_decimal((sl_str){ s.ptr, n }, 3, &milli))
		return false;
	sl_str unit = { s.ptr + n, s.len - n };
	int shift = 0;
	if (unit.len && strchr(letters, unit.ptr[0]) && unit.ptr[0]) {
		shift = 10 * (int) (strchr(letters, unit.ptr[0]) - letters + 1);
		unit.ptr++;
		unit.len--;
	}
	if (unit.len && !str_eq(unit, STR("B")) && !(shift && str_eq(unit, STR("iB"))))
		return false;
	__int128 bytes = ((__int128) milli << shift) / 1000;
	if (bytes > INT64_MAX)
		return false;
	*out = (int64_t) bytes;
	return true;
}

static size_t edit_distance(sl_str a, const char *b)
{
	size_t row[SL_NAME_MAX + 1];
	size_t b_len = strlen(b);
	if (a.len > SL_NAME_MAX || b_len > SL_NAME_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t change = diagonal + (lower(a.ptr[i - 1]) != lower(b[j - 1]));
			diagonal = row[j];
			size_t best = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
			row[j] = change < best ? change : best;
		}
	}
	return row[b_len];
}

const char *str_nearest(sl_str word, const char *const *names)
{
	const char *best = NULL;
	size_t best_distance = word.len / 3 + 2;
	for (; *names; names++) {
		size_t distance = edit_distance(word, *names);
		if (distance < best_distance) {
			best_distance = distance;
			best = *names;
		}
	}
	return best;
}

bool str_is_utf8(sl_str s)
{
	const unsigned char *p = (const unsigned char *) s.ptr, *end = p + s.len;
	while (p < end) {
		unsigned char c = *p++;
		if (c < 0x80)
			continue;
		int more = c >= 0xf0 && c <= 0xf4 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : 0;
		if (more == 0 || end - p < more)
			return false;
		if ((c == 0xe0 && *p < 0xa0) || (c == 0xed && *p > 0x9f) || (c == 0xf0 && *p < 0x90) ||
		    (c == 0xf4 && *p > 0x8f))
			return false;
		for (; more; more--, p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}

bool str_eq_secret(const void *a, const void *b, size_t len)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char difference = 0;
	for (size_t i = 0; i < len; i++)
		difference |= x[i] ^ y[i];
	return difference == 0;
}
