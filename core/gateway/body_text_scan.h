/* SPDX-License-Identifier: Apache-2.0 */
/* body_text_scan.h - the loops of body_text.c over a string's bytes, made once for each set of vectors: SCAN(name) is
 * what a function of this set is called, SCAN_FOR the processor that it is made for, and VECTOR, WIDTH, BITS, LOAD,
 * EACH, EQUAL, OR and LEAST are its vectors. All are undefined again at the end: it is included more than once. */

/* One bit for each byte, the lowest for the first: those that stand at the place of c. */
SCAN_FOR static inline uint64_t SCAN(find_byte)(const char *p, char c)
{
	uint64_t found = 0;
	for (int i = 0; i < BLOCK; i += WIDTH)
		found |= BITS(EQUAL(LOAD(p + i), EACH(c))) << i;
	return found;
}

/* Those above ASCII. */
SCAN_FOR static inline uint64_t SCAN(find_high)(const char *p)
{
	uint64_t found = 0;
	for (int i = 0; i < BLOCK; i += WIDTH)
		found |= BITS(LOAD(p + i)) << i;
	return found;
}

/* The high bit of each byte tells: a control character, or above ASCII. */
SCAN_FOR static inline VECTOR SCAN(odd)(VECTOR v)
{
	return OR(v, EQUAL(LEAST(v, EACH(0x1f)), v));
}

/* The high bit of each byte tells: one that a string's plain text does not have. */
SCAN_FOR static inline VECTOR SCAN(special)(VECTOR v)
{
	return OR(OR(EQUAL(v, EACH('"')), EQUAL(v, EACH('\\'))), SCAN(odd)(v));
}

/* The first byte at p or behind that is not plain text; from `end` on it is any. */
SCAN_FOR static inline const char *SCAN(skip_plain)(const char *p, const char *end)
{
	/* Most strings are short. */
	uint64_t found = BITS(SCAN(special)(LOAD(p)));
	if (found)
		return p + __builtin_ctzll(found);
	for (p += WIDTH; p < end; p += BLOCK) {
		VECTOR all = SCAN(special)(LOAD(p));
		for (int i = WIDTH; i < BLOCK; i += WIDTH)
			all = OR(all, SCAN(special)(LOAD(p + i)));
		if (!BITS(all))
			continue;
		found = 0;
		for (int i = 0; i < BLOCK; i += WIDTH)
			found |= BITS(SCAN(special)(LOAD(p + i))) << i;
		return p + __builtin_ctzll(found);
	}
	return end;
}

SCAN_FOR static inline void SCAN(read_block)(const char *p, struct masks *m)
{
	*m = (struct masks){ 0 };
	for (int i = 0; i < BLOCK; i += WIDTH) {
		VECTOR v = LOAD(p + i);
		m->quote |= BITS(EQUAL(v, EACH('"'))) << i;
		m->backslash |= BITS(EQUAL(v, EACH('\\'))) << i;
		m->odd |= BITS(SCAN(odd)(v)) << i;
	}
}

/* Checks the escapes of a block whose bytes behind their backslashes are in `escaped`. NULL: fine. */
SCAN_FOR static inline const char *SCAN(check_escapes)(const char *p, const struct masks *m, uint64_t escaped)
{
	uint64_t rest = escaped & ~(m->quote | m->backslash);
	if (rest & (rest - 1)) /* several: most are line ends */
		rest &= ~SCAN(find_byte)(p, 'n');
	for (; rest; rest &= rest - 1) {
		const char *at = p + __builtin_ctzll(rest);
		if (!escape_ok(at))
			return at;
	}
	return NULL;
}

/* Checks the odd bytes of a block: they must be UTF-8. NULL: fine. */
SCAN_FOR static inline const char *SCAN(check_odd)(const char *p, uint64_t odd, unsigned *ahead)
{
	uint64_t high = odd ? SCAN(find_high)(p) & odd : 0;
	if (odd != high)
		return p + __builtin_ctzll(odd & ~high);
	return check_utf8(p, high, ahead);
}

/* From the first byte on that is not plain. */
SCAN_FOR static const char *SCAN(skip_blocks)(const char *p, const char *end, bool *escaped_any, const char **bad)
{
	uint64_t open = 0;
	unsigned ahead = 0;
	for (; p < end; p += BLOCK) {
		struct masks m;
		SCAN(read_block)(p, &m);
		uint64_t inside = end - p < BLOCK ? (1ull << (end - p)) - 1 : ~0ull;
		uint64_t escaped = m.backslash | open ? find_escaped(m.backslash, &open) : 0;
		uint64_t quote = m.quote & ~escaped & inside;
		if (quote)
			inside = (quote & -quote) - 1;
		*escaped_any |= (m.backslash & inside) != 0;
		const char *fault = SCAN(check_escapes)(p, &m, escaped & inside);
		if (!fault)
			fault = SCAN(check_odd)(p, m.odd & inside, &ahead);
		if (fault) { /* a UTF-8 sequence that the end cuts may look as if it went on */
			*bad = fault < end ? fault : end;
			return NULL;
		}
		if (quote)
			return p + __builtin_ctzll(quote) + 1;
	}
	*bad = end;
	return NULL;
}

SCAN_FOR static const char *SCAN(skip_string)(const char *p, const char *end, bool *escaped, const char **bad)
{
	*escaped = false;
	p = SCAN(skip_plain)(p + 1, end);
	if (p < end && *p == '"')
		return p + 1;
	return SCAN(skip_blocks)(p, end, escaped, bad);
}

#undef SCAN
#undef SCAN_FOR
#undef VECTOR
#undef WIDTH
#undef BITS
#undef LOAD
#undef EACH
#undef EQUAL
#undef OR
#undef LEAST
