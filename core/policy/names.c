/* SPDX-License-Identifier: Apache-2.0 */
/* names.c - finds names of globals that nobody defines, in branches that no test reaches too.
 *
 * The compiler knows every use of a global: an instruction that reads a field of the upvalue _ENV. This file reads
 * the compiled form of Lua 5.4 that lua_dump writes here, and nothing else: what a policy brings is never bytecode. */
#include <stdlib.h>
#include <string.h>

#include "core/policy/internal.h"

enum { OP_GETTABUP = 11, OP_SETTABUP = 15, CONSTANT_INTEGER = 0x03, CONSTANT_FLOAT = 0x13, CONSTANT_SHORT = 0x04,
       CONSTANT_LONG = 0x14, NO_LINE = -0x80, NESTING_MAX = 200, NAMES_MAX = 2000 };

struct reader {
	const unsigned char *at, *end;
	bool bad;
};

struct use {
	char name[SL_NAME_MAX];
	int line;
	bool set;
};

struct names {
	struct policy *p;
	struct buf code;
	struct reader reader;
	struct use uses[NAMES_MAX];
	size_t n;
	struct buf *report;
};

static const unsigned char *take(struct reader *r, size_t n)
{
	if (r->bad || n > (size_t) (r->end - r->at)) {
		r->bad = true;
		return NULL;
	}
	const unsigned char *at = r->at;
	r->at += n;
	return at;
}

static unsigned take_byte(struct reader *r)
{
	const unsigned char *at = take(r, 1);
	return at ? *at : 0;
}

/* Seven bits a byte, the most significant first; the last byte has its top bit set. */
static size_t take_size(struct reader *r)
{
	size_t value = 0;
	for (int i = 0; i < 10 && !r->bad; i++) {
		unsigned byte = take_byte(r);
		value = value << 7 | (byte & 0x7f);
		if (byte & 0x80)
			return value;
	}
	r->bad = true;
	return 0;
}

static sl_str take_text(struct reader *r)
{
	size_t size = take_size(r);
	if (size == 0)
		return (sl_str){ 0 };
	const unsigned char *at = take(r, size - 1);
	return (sl_str){ (const char *) at, at ? size - 1 : 0 };
}

/* One function's parts that matter. */
struct function {
	int line;
	const unsigned char *code, *lines;
	size_t n_code, n_lines, n_constants, n_absolute;
	sl_str *constants;
	struct { size_t pc; int line; } *absolute;
	uint64_t env; /* bit n: upvalue n is _ENV */
};

static void take_constants(struct reader *r, struct function *f)
{
	f->n_constants = take_size(r);
	if (r->bad || f->n_constants > (size_t) (r->end - r->at)) {
		r->bad = true;
		f->n_constants = 0;
		return;
	}
	f->constants = calloc(f->n_constants + 1, sizeof *f->constants);
	r->bad = r->bad || !f->constants;
	for (size_t i = 0; i < f->n_constants && !r->bad; i++) {
		unsigned type = take_byte(r);
		if (type == CONSTANT_INTEGER)
			take(r, sizeof(lua_Integer));
		else if (type == CONSTANT_FLOAT)
			take(r, sizeof(lua_Number));
		else if (type == CONSTANT_SHORT || type == CONSTANT_LONG)
			f->constants[i] = take_text(r);
	}
}

static void take_debug(struct reader *r, struct function *f)
{
	f->n_lines = take_size(r);
	f->lines = take(r, f->n_lines);
	f->n_absolute = take_size(r);
	if (r->bad || f->n_absolute > (size_t) (r->end - r->at)) {
		r->bad = true;
		f->n_absolute = 0;
		return;
	}
	f->absolute = calloc(f->n_absolute + 1, sizeof *f->absolute);
	r->bad = r->bad || !f->absolute;
	for (size_t i = 0; i < f->n_absolute && !r->bad; i++) {
		f->absolute[i].pc = take_size(r);
		f->absolute[i].line = (int) take_size(r);
	}
	for (size_t n = take_size(r); n > 0 && !r->bad; n--) { /* local variables */
		take_text(r);
		take_size(r);
		take_size(r);
	}
	size_t n = take_size(r);
	for (size_t i = 0; i < n && !r->bad; i++)
		if (str_eq(take_text(r), STR("_ENV")) && i < 64)
			f->env |= 1ull << i;
}

static void add_use(struct names *names, const struct function *f, unsigned upvalue, unsigned constant, int line, bool set)
{
	if (upvalue >= 64 || !(f->env >> upvalue & 1) || constant >= f->n_constants || names->n == NAMES_MAX)
		return;
	struct use *use = &names->uses[names->n];
	if (!f->constants[constant].ptr || !str_copy(use->name, sizeof use->name, f->constants[constant]))
		return;
	use->line = line;
	use->set = set;
	names->n++;
}

static void find_uses(struct names *names, const struct function *f)
{
	int line = f->line;
	size_t absolute = 0;
	for (size_t pc = 0; pc < f->n_code; pc++) {
		uint32_t i;
		memcpy(&i, f->code + pc * sizeof i, sizeof i);
		int delta = pc < f->n_lines ? (signed char) f->lines[pc] : 0;
		if (delta == NO_LINE && absolute < f->n_absolute)
			line = f->absolute[absolute++].line;
		else
			line += delta;
		if ((i & 0x7f) == OP_GETTABUP)
			add_use(names, f, i >> 16 & 0xff, i >> 24, line, false);
		else if ((i & 0x7f) == OP_SETTABUP)
			add_use(names, f, i >> 7 & 0xff, i >> 16 & 0xff, line, true);
	}
}

static void take_function(struct names *names, int depth)
{
	struct reader *r = &names->reader;
	struct function f = { 0 };
	take_text(r); /* source */
	f.line = (int) take_size(r);
	take_size(r);
	take(r, 3);
	f.n_code = take_size(r);
	if (f.n_code > (size_t) (r->end - r->at) / 4 || depth > NESTING_MAX)
		r->bad = true;
	f.code = take(r, f.n_code * 4);
	take_constants(r, &f);
	take(r, 3 * take_size(r)); /* upvalues */
	for (size_t n = take_size(r); n > 0 && !r->bad; n--)
		take_function(names, depth + 1);
	if (!r->bad)
		take_debug(r, &f);
	if (!r->bad)
		find_uses(names, &f);
	free(f.constants);
	free(f.absolute);
}

static int write_code(lua_State *L, const void *data, size_t size, void *arg)
{
	(void) L;
	buf_put(arg, data, size);
	return ((struct buf *) arg)->failed;
}

static bool is_set(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (names->uses[i].set && strcmp(names->uses[i].name, name) == 0)
			return true;
	return false;
}

/* Asks the state about each name: what it says of one that is missing is the finding. */
static int report_missing(lua_State *L)
{
	struct names *names = lua_touserdata(L, 1);
	for (size_t i = 0; i < names->n; i++) {
		const struct use *use = &names->uses[i];
		if (use->set || is_set(names, use->name) || sandbox_global(L, use->name) != LUA_TNIL) {
			lua_settop(L, 1);
			continue;
		}
		lua_settop(L, 1);
		lua_pushstring(L, use->name);
		lua_pushcfunction(L, sandbox_missing);
		lua_insert(L, -2);
		if (lua_pcall(L, 1, 0, 0) != LUA_OK)
			buf_printf(names->report, "%s:%d: %s\n", names->p->shown, use->line, lua_tostring(L, -1));
		lua_settop(L, 1);
	}
	return 0;
}

void policy_check_names(struct policy *p, sl_str text, struct buf *report)
{
	/* signature, version 5.4, format 0, check bytes, sizes, check numbers, number of upvalues */
	enum { HEADER = 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1 };
	lua_State *L = sandbox_lua(p->sandbox);
	struct names *names = calloc(1, sizeof *names);
	if (!names || sandbox_load(p->sandbox, text, p->shown, NULL) != SL_OK) {
		free(names);
		return;
	}
	names->p = p;
	names->report = report;
	names->code.max = 16 << 20;
	int rc = lua_dump(L, write_code, &names->code, 0);
	lua_pop(L, 1);
	names->reader.at = (const unsigned char *) names->code.data;
	names->reader.end = names->reader.at + names->code.len;
	const unsigned char *header = rc == 0 ? take(&names->reader, HEADER) : NULL;
	if (header && memcmp(header, "\x1bLua\x54\x00", 6) == 0)
		take_function(names, 0);
	if (!names->reader.bad)
		sandbox_setup(p->sandbox, report_missing, names, NULL);
	buf_free(&names->code);
	free(names);
}
