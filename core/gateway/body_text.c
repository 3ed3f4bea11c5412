/* SPDX-License-Identifier: Apache-2.0 */
/* body_text.c - JSON strings and numbers, stepped over in vectors. */
#include "core/gateway/body_text.h"

#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

enum { BLOCK = 64 };

/* One bit for each byte of a block, the lowest for the first. `odd`: control characters and bytes above ASCII. */
struct masks {
	uint64_t quote, backslash, odd;
};

/* The bytes that a backslash escapes. In a run of backslashes every second one is escaped, and so is the byte
 * behind a run of odd length: escaped is what follows a backslash at an odd distance from its run's start. Adding
 * the starts of the runs that begin at even places makes a carry run through exactly those runs, which tells the
 * two kinds of runs apart without a loop. *open: the block's last byte escapes the first of the next. */
static inline uint64_t find_escaped(uint64_t backslash, uint64_t *open)
{
	const uint64_t even = 0x5555555555555555ull;
	uint64_t first = *open;
	backslash &= ~first; /* itself escaped: begins no escape */
	uint64_t starts = backslash & ~(backslash << 1);
	uint64_t sum = backslash + (starts & even);
	uint64_t even_runs = backslash & ~sum, odd_runs = backslash & sum;
	uint64_t escaped = (even_runs << 1 & ~even) | (odd_runs << 1 & even) | first;
	*open = (backslash & ~escaped) >> 63;
	return escaped;
}

static inline bool is_hex(unsigned char c)
{
	return (unsigned) (c - '0') < 10 || (unsigned) ((c | 0x20) - 'a') < 6;
}

/* Is the byte at p, which stands behind a backslash, an escape? Bytes behind the string's end are readable, and
 * if they are taken for its digits the string has no end and is refused for that. */
static inline bool escape_ok(const char *p)
{
	switch (*p) {
	case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
		return true;
	case 'u':
		return is_hex((unsigned char) p[1]) && is_hex((unsigned char) p[2]) && is_hex((unsigned char) p[3]) &&
		       is_hex((unsigned char) p[4]);
	}
	return false;
}

/* Length of the UTF-8 sequence at p, whose first byte is not ASCII; 0: it is none. */
static inline unsigned utf8_length(const char *p)
{
	const unsigned char *u = (const unsigned char *) p;
	if (u[0] < 0xc2 || u[0] > 0xf4 || (u[1] & 0xc0) != 0x80)
		return 0;
	if (u[0] < 0xe0)
		return 2;
	if ((u[2] & 0xc0) != 0x80)
		return 0;
	if (u[0] < 0xf0)
		return (u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ? 0 : 3;
	if ((u[3] & 0xc0) != 0x80 || (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return 4;
}

/* Checks the sequences whose bytes are set in `high`. *ahead: how many bytes of the next block were checked with
 * the last one. NULL: fine, else the malformed place. */
static inline const char *check_utf8(const char *p, uint64_t high, unsigned *ahead)
{
	unsigned done = *ahead;
	*ahead = 0;
	while (done < BLOCK) {
		uint64_t rest = high & ~0ull << done;
		if (!rest)
			return NULL;
		done = (unsigned) __builtin_ctzll(rest);
		do {
			unsigned n = utf8_length(p + done);
			if (n == 0)
				return p + done;
			done += n;
		} while (done < BLOCK && p[done] & 0x80);
	}
	*ahead = done - BLOCK;
	return NULL;
}

#ifdef __SSE2__
#define SCAN(name) name ## _sse2
#define SCAN_FOR
#define VECTOR __m128i
#define WIDTH 16
#define BITS(v) ((uint64_t) (uint32_t) _mm_movemask_epi8(v))
#define LOAD(p) _mm_loadu_si128((const __m128i *) (const void *) (p))
#define EACH(c) _mm_set1_epi8(c)
#define EQUAL(a, b) _mm_cmpeq_epi8(a, b)
#define OR(a, b) _mm_or_si128(a, b)
#define LEAST(a, b) _mm_min_epu8(a, b)
#include "core/gateway/body_text_scan.h"

#define SCAN(name) name ## _avx2
#define SCAN_FOR __attribute__((target("avx2")))
#define VECTOR __m256i
#define WIDTH 32
#define BITS(v) ((uint64_t) (uint32_t) _mm256_movemask_epi8(v))
#define LOAD(p) _mm256_loadu_si256((const __m256i *) (const void *) (p))
#define EACH(c) _mm256_set1_epi8(c)
#define EQUAL(a, b) _mm256_cmpeq_epi8(a, b)
#define OR(a, b) _mm256_or_si256(a, b)
#define LEAST(a, b) _mm256_min_epu8(a, b)
#include "core/gateway/body_text_scan.h"
#endif

#define SCAN(name) name ## _bytes
#define SCAN_FOR
#define VECTOR unsigned
#define WIDTH 1
#define BITS(v) ((uint64_t) ((v) >> 7 & 1))
#define LOAD(p) ((unsigned) *(const unsigned char *) (p))
#define EACH(c) ((unsigned) (c))
#define EQUAL(a, b) ((a) == (b) ? 0xffu : 0u)
#define OR(a, b) ((a) | (b))
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#include "core/gateway/body_text_scan.h"

static body_skip *const sets[] = {
	skip_string_bytes,
#ifdef __SSE2__
	skip_string_sse2,
	skip_string_avx2,
#endif
};

unsigned body_skip_sets(body_skip *const **out)
{
	*out = sets;
#ifdef __SSE2__
	return __builtin_cpu_supports("avx2") ? 3 : 2;
#else
	return 1;
#endif
}

const char *body_skip_string(const char *p, const char *end, bool *escaped, const char **bad)
{
#ifdef __SSE2__
	return __builtin_cpu_supports("avx2") ? skip_string_avx2(p, end, escaped, bad) : skip_string_sse2(p, end, escaped, bad);
#else
	return skip_string_bytes(p, end, escaped, bad);
#endif
}

static inline const char *skip_digits(const char *p, const char *end)
{
	while (p < end && (unsigned) (*p - '0') < 10)
		p++;
	return p;
}

const char *body_skip_number(const char *p, const char *end, bool *whole, const char **bad)
{
	bool minus = p < end && *p == '-';
	*whole = !minus;
	p += minus;
	const char *digits = p;
	p = p < end && *p == '0' ? p + 1 : skip_digits(p, end);
	*bad = p;
	if (p == digits)
		return NULL;
	if (p < end && *p == '.') {
		*whole = false;
		digits = ++p;
		p = skip_digits(p, end);
		*bad = p;
		if (p == digits)
			return NULL;
	}
	if (p < end && (*p | 0x20) == 'e') {
		*whole = false;
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = skip_digits(p, end);
		*bad = p;
		if (p == digits)
			return NULL;
	}
	return p;
}

static uint32_t hex4(const char *p)
{
	uint32_t value = 0;
	for (int i = 0; i < 4; i++) {
		unsigned char c = (unsigned char) p[i];
		value = value << 4 | (uint32_t) (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}

/* Writes a code point as UTF-8. Its length. */
static size_t put_utf8(char out[4], uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char) c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char) (0x80 | (c & 0x3f));
	out[0] = (char) (first[n] | c);
	return n;
}

/* Reads the escape whose backslash is at s->ptr, and steps over it. False: a surrogate stands alone. */
static bool read_escape(sl_str *s, uint32_t *out)
{
	static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
	char c = s->ptr[1];
	size_t used = 2;
	const char *name = strchr(names, c);
	uint32_t value = name ? (uint32_t) values[name - names] : (uint32_t) (unsigned char) c;
	if (c == 'u') {
		value = hex4(s->ptr + 2);
		used = 6;
		if (value >= 0xdc00 && value <= 0xdfff)
			return false;
		if (value >= 0xd800 && value <= 0xdbff) {
			if (s->len < 12 || s->ptr[6] != '\\' || s->ptr[7] != 'u')
				return false;
			uint32_t low = hex4(s->ptr + 8);
			if (low < 0xdc00 || low > 0xdfff)
				return false;
			value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
			used = 12;
		}
	}
	*out = value;
	*s = (sl_str){ s->ptr + used, s->len - used };
	return true;
}

enum body_unescape body_unescape(sl_str inside, char *out, size_t room, size_t *len)
{
	*len = 0;
	while (inside.len) {
		char bytes[4];
		size_t n = 1;
		bytes[0] = *inside.ptr;
		if (*inside.ptr == '\\') {
			uint32_t c;
			if (!read_escape(&inside, &c))
				return BODY_LONE_SURROGATE;
			n = put_utf8(bytes, c);
		} else {
			inside = (sl_str){ inside.ptr + 1, inside.len - 1 };
		}
		if (n > room - *len)
			return BODY_TOO_LONG;
		memcpy(out + *len, bytes, n);
		*len += n;
	}
	return BODY_UNESCAPED;
}
