/* SPDX-License-Identifier: Apache-2.0 */
/* test_sandbox.c - every way out of a sandbox that is known, and that it is shut. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/sandbox/sandbox.h"

static const struct sandbox_limits small = { 1 << 20, 100000 };

/* Runs the text in a state of its own. */
static int run(const char *text, sl_error *error)
{
	struct sandbox *s = sandbox_open(&small);
	cr_assert_not_null(s);
	memset(error, 0, sizeof *error);
	int rc = sandbox_run(s, str_of(text), "policy.lua", error);
	sandbox_close(s);
	return rc;
}

static void refused(const char *text, int code, const char *words)
{
	sl_error error;
	int rc = run(text, &error);
	cr_expect_eq(rc, code, "%s: code %d, not %d (%s)", text, code, rc, error.text);
	cr_expect(strstr(error.text, words), "%s: '%s' should stand in '%s'", text, words, error.text);
}

static void allowed(const char *text)
{
	sl_error error;
	cr_expect_eq(run(text, &error), SL_OK, "%s: %s", text, error.text);
}

Test(sandbox, endless_work_ends_by_budget)
{
	static const char *const bombs[] = {
		"while true do end",
		"local function f() while true do end end while true do pcall(f) end",
		"local function f() pcall(f) while true do pcall(f) end end f()",
		"while true do pcall(error, 'again') end",
		"local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function(a, b) while true do end end)",
		"local t = setmetatable({}, { __index = function(t, k) while true do end end }) return t.x",
		"local t = setmetatable({}, { __tostring = function() while true do end end }) return tostring(t)",
		"do local x <close> = setmetatable({}, { __close = function() while true do end end }) end",
		"pcall(function() local x <close> = setmetatable({}, { __close = function() while true do end end }) error('x') end)",
		"for k, v in function() return 1 end do end",
		"repeat local s = string.rep('x', 10) until false",
		"goto here ::here:: goto here",
	};
	for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++) {
		sl_error error;
		cr_expect_eq(run(bombs[i], &error), SL_ELIMIT, "%s: %s", bombs[i], error.text);
		cr_expect(strstr(error.text, "policy.lua:1: instruction budget of 100000"), "%s: %s", bombs[i], error.text);
	}
}

Test(sandbox, budget_counts_instructions)
{
	sl_error error;
	struct sandbox *s = sandbox_open(&small);
	/* A loop's turn is one instruction and a bit: far below the budget it ends, far above it does not. */
	cr_expect_eq(sandbox_run(s, STR("for i = 1, 50000 do end"), "a", &error), SL_OK, "%s", error.text);
	cr_expect_eq(sandbox_run(s, STR("for i = 1, 50000 do end"), "a", &error), SL_OK, "each call has its own budget");
	cr_expect_eq(sandbox_run(s, STR("for i = 1, 200000 do end"), "a", &error), SL_ELIMIT);
	cr_expect_not(sandbox_out_of_memory(s));
	cr_expect_eq(sandbox_run(s, STR("return 1"), "a", &error), SL_OK, "a state is usable after a trip: %s", error.text);
	sandbox_close(s);
}

Test(sandbox, charged_work_counts_too)
{
	refused("local t = {} for i = 1, 4000 do t[i] = i end for i = 1, 4000 do table.insert(t, 1, i) end", SL_ELIMIT,
	        "instruction budget");
	refused("while true do print('again') end", SL_ELIMIT, "instruction budget");
	refused("local s = string.rep('x', 100000) for i = 1, 1000 do s:find(s, 1, true) end", SL_ELIMIT, "instruction budget");
}

Test(sandbox, memory_has_a_bound)
{
	static const char *const bombs[] = {
		"local s = 'x' while true do s = s .. s end",
		"local t = {} while true do t[#t + 1] = {} end",
		"local function f() return f() + 1 end f()",
		"local s = string.rep('x', 1000) while true do pcall(function() s = s .. s end) end",
		"local t = { string.rep('x', 100000) } for i = 1, 20 do t[i] = t[1] end local s = table.concat(t)",
		"local s = ('x'):rep(50000) return string.format('%s%s%s%s%s%s%s%s%s%s', s, s, s, s, s, s, s, s, s, s)",
	};
	for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++) {
		sl_error error;
		cr_expect_eq(run(bombs[i], &error), SL_ELIMIT, "%s: %s", bombs[i], error.text);
		cr_expect(strstr(error.text, "memory limit"), "%s: %s", bombs[i], error.text);
	}
}

Test(sandbox, state_survives_lack_of_memory)
{
	sl_error error;
	struct sandbox *s = sandbox_open(&small);
	cr_assert_eq(sandbox_run(s, STR("local t = {} while true do t[#t + 1] = {} end"), "a", &error), SL_ELIMIT);
	cr_assert(sandbox_out_of_memory(s));
	sandbox_collect(s);
	cr_assert_lt(sandbox_memory(s), (size_t) 200000, "what the call had is garbage");
	cr_assert_eq(sandbox_run(s, STR("return {}"), "a", &error), SL_OK, "%s", error.text);
	sandbox_close(s);
}

Test(sandbox, blocked_names_are_named)
{
	static const char *const names[] = { "os.execute", "os.exit", "os.getenv", "io.open", "io.popen", "debug.sethook",
		"debug.getregistry", "package.loadlib", "coroutine.create", "coroutine.wrap", "load", "loadstring", "dofile",
		"loadfile", "require", "xpcall", "collectgarbage", "rawget", "rawset", "warn", "_G", "string.dump", "string.gsub",
		"string.gmatch", "string.match", "string.reverse", "string.pack", "table.move" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char text[128], words[128];
		snprintf(text, sizeof text, "local f = %s", names[i]);
		snprintf(words, sizeof words, "policy.lua:1: blocked function: %s", names[i]);
		refused(text, SL_EINVAL, words);
	}
	refused("('x'):gsub('x', 'y')", SL_EINVAL, "blocked function: string.gsub");
}

Test(sandbox, no_finalizers)
{
	refused("setmetatable({}, { __gc = function() while true do end end })", SL_EINVAL, "blocked function: __gc");
	/* Set afterwards it has no effect: the table is not marked. */
	allowed("local m = {} local t = setmetatable({}, m) m.__gc = function() while true do end end t = nil "
	        "for i = 1, 2000 do local x = {} end");
}

Test(sandbox, bytecode_is_refused)
{
	sl_error error = { 0 };
	struct sandbox *s = sandbox_open(NULL);
	cr_assert_eq(sandbox_run(s, (sl_str){ "\x1bLua\x54\x00", 6 }, "policy.lua", &error), SL_EINVAL);
	cr_assert(strstr(error.text, "binary chunk"), "%s", error.text);
	sandbox_close(s);
}

Test(sandbox, patterns_are_plain_and_bounded)
{
	refused("return string.find('aaa', '.-b')", SL_EINVAL, "plain text");
	allowed("assert(string.find('a.b', '.', 1, true) == 2)");
	allowed("assert(('hello'):find('llo') == 3)");
	allowed("local a, b = ('hello'):find('l', -2) assert(a == 4 and b == 4)");
	allowed("assert(('x'):find('y') == nil and ('x'):find('', 2) == 2 and ('x'):find('x', 5) == nil)");
	refused("return string.rep('x', 1 << 30)", SL_EINVAL, "string.rep");
	refused("return string.rep('', 1 << 62, 'ab')", SL_EINVAL, "string.rep");
	allowed("assert(string.rep('', 1 << 62) == '')");
}

Test(sandbox, table_functions_are_bounded)
{
	refused("return table.unpack({}, 1, 1e8)", SL_EINVAL, "more than");
	refused("return table.unpack({}, math.mininteger, math.maxinteger)", SL_EINVAL, "more than");
	refused("return table.concat({}, '', 1, 3e8)", SL_EINVAL, "more than");
	refused("table.insert(setmetatable({}, { __len = function() return 1 << 40 end }), 1, 1)", SL_EINVAL, "metatable");
	refused("table.sort(setmetatable({}, { __len = function() return 1 << 40 end }))", SL_EINVAL, "metatable");
	refused("table.remove(setmetatable({}, { __len = function() return 1 << 40 end }), 1)", SL_EINVAL, "metatable");
	refused("local t, s = {}, string.rep('x', 50000) for i = 1, 5000 do t[i] = s end table.sort(t)", SL_EINVAL, "a text of more than");
	allowed("local t = { 3, 1, 2 } table.sort(t) assert(table.concat(t, ',') == '1,2,3')");
	allowed("local t = {} table.insert(t, 'a') table.insert(t, 1, 'b') assert(table.remove(t) == 'a' and #t == 1)");
	allowed("assert(select('#', table.unpack({ 1, 2, 3 })) == 3 and table.pack(1, nil).n == 2)");
}

Test(sandbox, libraries_cannot_be_changed)
{
	refused("string.rep = nil", SL_EINVAL, "cannot be changed");
	refused("math.floor = 1", SL_EINVAL, "cannot be changed");
	refused("string = {}", SL_EINVAL, "belongs to sluice");
	refused("pcall = nil", SL_EINVAL, "belongs to sluice");
	allowed("assert(getmetatable('') == false)");
	allowed("assert(getmetatable(string) == false)");
	refused("getmetatable('').__index.upper = nil", SL_EINVAL, "policy.lua:1");
	refused("setmetatable(string, {})", SL_EINVAL, "protected");
	refused("setmetatable(_ENV, {})", SL_EINVAL, "protected");
	allowed("for k in pairs(string) do error('the library is seen') end");
	allowed("for k in pairs(_ENV) do error('the globals are seen') end");
}

Test(sandbox, one_state_does_not_change_another)
{
	sl_error error;
	struct sandbox *a = sandbox_open(NULL), *b = sandbox_open(NULL);
	cr_assert_eq(sandbox_run(a, STR("mine = 1"), "a", &error), SL_OK);
	cr_assert_eq(sandbox_run(b, STR("return mine"), "b", &error), SL_EINVAL);
	sandbox_close(a);
	sandbox_close(b);
}

Test(sandbox, lock_makes_globals_read_only)
{
	sl_error error;
	struct sandbox *s = sandbox_open(NULL);
	cr_assert_eq(sandbox_run(s, STR("mine = 1 function admit() mine = 2 end"), "policy.lua", &error), SL_OK, "%s", error.text);
	sandbox_lock(s);
	cr_expect_eq(sandbox_run(s, STR("\nadmit()"), "b.lua", &error), SL_EINVAL);
	cr_expect_str_eq(error.text, "policy.lua:1: global 'mine' cannot be set here: write 'local mine'");
	cr_expect(strstr(sandbox_traceback(s), "b.lua:2"), "the traceback names the caller: %s", sandbox_traceback(s));
	cr_expect_eq(sandbox_run(s, STR("_ENV.other = 1"), "b.lua", &error), SL_EINVAL);
	cr_expect_eq(sandbox_run(s, STR("assert(mine == 1)"), "b.lua", &error), SL_OK, "%s", error.text);
	sandbox_close(s);
}

Test(sandbox, undefined_names_have_a_nearest)
{
	refused("local x = prinnt", SL_EINVAL, "policy.lua:1: 'prinnt' is not defined: did you mean 'print'?");
	refused("function admit() end\nlocal x = admitt", SL_EINVAL, "policy.lua:2: 'admitt' is not defined: did you mean 'admit'?");
	refused("local x = string.uper", SL_EINVAL, "string.uper does not exist: did you mean 'upper'?");
	refused("local x = qqqqqqqqqqqq", SL_EINVAL, "'qqqqqqqqqqqq' is not defined");
}

Test(sandbox, errors_of_every_kind_have_words)
{
	refused("error(nil)", SL_EINVAL, "policy.lua:1: the error is no text but a nil value");
	refused("error({})", SL_EINVAL, "a table value");
	refused("error(setmetatable({}, { __tostring = function() while true do end end }))", SL_EINVAL, "a table value");
	refused("x = = 1", SL_EINVAL, "policy.lua:1:");
	refused("local a = nil + 1", SL_EINVAL, "policy.lua:1:");
	refused("error('words', 0)", SL_EINVAL, "words");
	sl_error error;
	struct buf deep = { 0 };
	for (int i = 0; i < 1000; i++)
		buf_puts(&deep, "(");
	buf_put(&deep, "", 1);
	cr_expect_eq(run(deep.data, &error), SL_EINVAL, "1000 levels in the source");
	buf_free(&deep);
}

Test(sandbox, error_handling_of_scripts_works)
{
	allowed("local ok, why = pcall(error, 'x') assert(not ok and why == 'x')");
	allowed("local ok, a, b = pcall(function() return 1, 2 end) assert(ok and a == 1 and b == 2)");
	allowed("assert(select(2, pcall(error, nil)) == nil)");
}

static int probe_glob(const char *text, const char *pattern)
{
	struct sandbox *s = sandbox_open(NULL);
	lua_State *L = sandbox_lua(s);
	sl_error error;
	lua_pushcfunction(L, sandbox_glob);
	lua_pushstring(L, text);
	lua_pushstring(L, pattern);
	int rc = sandbox_call(s, 2, 1, &error);
	int matched = rc == SL_OK ? lua_toboolean(L, -1) : -1;
	sandbox_close(s);
	return matched;
}

Test(sandbox, glob_matches_whole_texts)
{
	cr_expect_eq(probe_glob("llama-8b", "llama-*"), 1);
	cr_expect_eq(probe_glob("llama-8b", "*-?b"), 1);
	cr_expect_eq(probe_glob("llama-8b", "llama"), 0);
	cr_expect_eq(probe_glob("", "*"), 1);
	cr_expect_eq(probe_glob("abc", "a*b*c*"), 1);
	cr_expect_eq(probe_glob("ab", "a*c"), 0);
	char text[5000], pattern[200];
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '\0';
	for (size_t i = 0; i + 2 < sizeof pattern; i += 2)
		memcpy(pattern + i, "*a", 2);
	memcpy(pattern + sizeof pattern - 2, "b", 2);
	cr_expect_eq(probe_glob(text, pattern), 0, "many stars end in bounded work");
}

Test(sandbox, no_calls_from_inside)
{
	sl_error error = { 0 };
	struct sandbox *s = sandbox_open(NULL);
	cr_assert_eq(sandbox_load(s, STR("return 7"), "a", &error), SL_OK);
	cr_assert_eq(sandbox_call(s, 0, 1, &error), SL_OK);
	cr_assert_eq(lua_tointeger(sandbox_lua(s), -1), 7);
	lua_pop(sandbox_lua(s), 1);
	sandbox_close(s);
}

static char folder[] = "/tmp/sluice-sandbox-XXXXXX";

static const char *write_file(const char *name, const char *text, mode_t mode)
{
	static char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
	return path;
}

static void file_refused(const char *path, const char *words)
{
	struct buf out = { 0 };
	sl_error error = { 0 };
	cr_expect_neq(sandbox_read_file(path, &out, &error), SL_OK, "%s", path);
	cr_expect(strstr(error.text, words), "%s: %s", words, error.text);
	cr_expect(strstr(error.text, path), "the file is named: %s", error.text);
	buf_free(&out);
}

Test(sandbox, files_that_others_can_change_are_refused)
{
	struct buf out = { 0 };
	sl_error error = { 0 };
	cr_assert_not_null(mkdtemp(folder));
	cr_expect_eq(sandbox_read_file(write_file("good.lua", "return 1", 0644), &out, &error), SL_OK, "%s", error.text);
	cr_expect_eq(out.len, 8u);
	buf_free(&out);
	struct sandbox *s = sandbox_open(NULL);
	cr_expect_eq(sandbox_run_file(s, write_file("good.lua", "\nerror('ran')", 0644), "good.lua", &error), SL_EINVAL);
	cr_expect_str_eq(error.text, "good.lua:2: ran");
	cr_expect_eq(sandbox_run_file(s, write_file("bad.lua", "return 1", 0666), "bad.lua", &error), SL_EDENIED);
	sandbox_close(s);
	file_refused(write_file("writable.lua", "return 1", 0666), "others can write");
	file_refused(write_file("empty.lua", "", 0644), "empty");
	file_refused(folder, "folder");
	char path[256];
	snprintf(path, sizeof path, "%s/none.lua", folder);
	file_refused(path, "No such file");
	snprintf(path, sizeof path, "%s/pipe", folder);
	mkfifo(path, 0600);
	file_refused(path, "not a plain file");
	snprintf(path, sizeof path, "%s/large.lua", folder);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	cr_assert_eq(ftruncate(fd, SANDBOX_FILE_MAX + 1), 0);
	close(fd);
	file_refused(path, "larger than");
	chmod(folder, 0777);
	file_refused(write_file("good.lua", "return 1", 0644), "its folder");
	chmod(folder, 0700);
	snprintf(path, sizeof path, "rm -rf %s", folder);
	cr_assert_eq(system(path), 0);
}
