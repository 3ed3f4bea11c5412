/* SPDX-License-Identifier: Apache-2.0 */
/* test_refusals.c - what is wrong with a file is found, and said in words that help. */
#include <criterion/criterion.h>
#include <elf.h>

#include "core/plugin/plugin_private.h"
#include "tests/unit/plugin/fixture.h"

struct refused {
	const char *file; /* in tests/abi/bad */
	enum plugin_refusal refusal;
	const char *words[3]; /* all of them stand in the sentence */
};

static const struct refused cases[] = {
	{ "no_symbol", PLUGIN_NO_SYMBOL, { "expected the symbol 'sluice_plugin'", "SL_EXPORT" } },
	{ "undefined", PLUGIN_DLOPEN, { "undefined symbol: nobody_has_this_function", "-Wl,-z,defs" } },
	{ "magic", PLUGIN_MAGIC, { "expected magic 43554c53", "found 12345678" } },
	{ "tiny", PLUGIN_MAGIC, { "not a descriptor" } },
	{ "major", PLUGIN_MAJOR, { "wants ABI 2.7", "speaks 1.1", "build it against" } },
	{ "minor", PLUGIN_MINOR, { "wants ABI 1.10", "speaks 1.0 to 1.1", "upgrade sluice" } },
	{ "size_small", PLUGIN_SIZE, { "says 100 bytes", "at least 144" } },
	{ "size_big", PLUGIN_SIZE, { "says 1073741824 bytes", "SL_PLUGIN_HEAD" } },
	{ "kind", PLUGIN_KIND, { "kind 99 is unknown" } },
	{ "name", PLUGIN_NAME, { "its name is 'somebody'", "expected 'name'" } },
	{ "no_name", PLUGIN_NAME, { "its name is ''" } },
	{ "reserved", PLUGIN_SIZE, { "reserved[2]", "not zero" } },
	{ "needs", PLUGIN_NEEDS, { "0x10000000000", "upgrade sluice" } },
	{ "no_open", PLUGIN_OPS, { "has no open()" } },
	{ "ops_null", PLUGIN_OPS, { "ops is NULL", "sluice/scheduler.h" } },
	{ "ops_small", PLUGIN_OPS, { "says 8 bytes", "at least 24", "sl_scheduler_ops" } },
	{ "ops_hole", PLUGIN_OPS, { "function 1 of its table is NULL" } },
	{ "option_twice", PLUGIN_OPTION, { "'depth' is twice" } },
	{ "option_type", PLUGIN_OPTION, { "'depth' has the unknown type 77" } },
	{ "option_default", PLUGIN_OPTION, { "option 'delay': 'soon' is not a duration" } },
	{ "check_no", PLUGIN_OPTION, { "check() says: low is above high" } },
	{ "open_fails", PLUGIN_OPEN, { "open() failed: the disk is on fire" } },
};

Test(plugin_refusals, each_with_its_reason_and_words)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct refused *c = &cases[i];
		enum plugin_refusal refusal = PLUGIN_FINE;
		sl_error error = { 0 };
		struct plugin *p = fixture_open("tests/abi/bad", c->file, NULL, NULL, &refusal, &error);
		cr_expect_null(p, "%s is refused", c->file);
		cr_expect_eq(refusal, c->refusal, "%s: reason %d, expected %d (%s)", c->file, refusal, c->refusal, error.text);
		cr_expect(error.code < 0, "%s has a code", c->file);
		char head[64];
		snprintf(head, sizeof head, "sluice.lua:14: plugin '%s': refused /", c->file);
		cr_expect(strncmp(error.text, head, strlen(head)) == 0, "%s: begins with where and what: %s", c->file, error.text);
		for (size_t k = 0; k < 3 && c->words[k]; k++)
			cr_expect(strstr(error.text, c->words[k]), "%s: '%s' stands in: %s", c->file, c->words[k], error.text);
	}
}

Test(plugin_refusals, good_ones_are_taken)
{
	static const char *const good[] = { "good", "caps" };
	for (size_t i = 0; i < 2; i++) {
		enum plugin_refusal refusal = PLUGIN_OPEN;
		sl_error error = { 0 };
		struct plugin *p = fixture_open("tests/abi/bad", good[i], NULL, NULL, &refusal, &error);
		cr_assert(p, "%s: %s", good[i], error.text);
		cr_expect_eq(refusal, PLUGIN_FINE);
		cr_expect_str_eq(plugin_name(p), good[i]);
		cr_expect_eq(plugin_kind(p), SL_KIND_SCHEDULER);
		cr_expect(plugin_close(p, 0));
	}
}

/* The check says it before any code of an instance runs, and says the same. */
Test(plugin_refusals, check_refuses_alike)
{
	struct plugin_spec spec = { .kind = SL_KIND_SCHEDULER, .name = fixture_plugin("tests/abi/bad", "major") };
	enum plugin_refusal refusal;
	sl_error error;
	cr_assert(plugin_check(&spec, NULL, &refusal, &error) < 0);
	cr_expect_eq(refusal, PLUGIN_MAJOR);
	cr_expect(strncmp(error.text, "scheduler 'major': refused /", 28) == 0, "%s", error.text);
	spec.name = fixture_plugin("tests/abi/bad", "open_fails");
	cr_expect_eq(plugin_check(&spec, NULL, &refusal, NULL), SL_OK, "open() is not called by a check");
	spec.name = fixture_plugin("tests/abi/bad", "good");
	spec.kind = SL_KIND_AUTH;
	cr_assert(plugin_check(&spec, NULL, &refusal, &error) < 0);
	cr_expect_eq(refusal, PLUGIN_KIND);
	cr_expect(strstr(error.text, "expected kind 'auth', found 'scheduler'"), "%s", error.text);
	spec.kind = 77;
	cr_expect(plugin_check(&spec, NULL, &refusal, &error) < 0 && refusal == PLUGIN_KIND, "%s", error.text);
}

static void expect_file(const char *what, const char *path, enum plugin_refusal wanted, const char *words)
{
	struct plugin_spec spec = { .kind = SL_KIND_SCHEDULER, .name = path };
	enum plugin_refusal refusal = PLUGIN_FINE;
	sl_error error = { 0 };
	struct plugin *p = plugin_open(&spec, NULL, &refusal, &error);
	cr_expect_null(p, "%s is refused", what);
	cr_expect_eq(refusal, wanted, "%s: reason %d, expected %d (%s)", what, refusal, wanted, error.text);
	cr_expect(strstr(error.text, words), "%s: '%s' stands in: %s", what, words, error.text);
}

Test(plugin_refusals, files_that_are_no_plugins)
{
	char path[PATH_MAX + 64];
	expect_file("missing", "/nonexistent/folder/fair.so", PLUGIN_NOT_READABLE, "No such file");
	expect_file("empty", fixture_file("empty.so", "", 0), PLUGIN_NOT_ELF, "an empty file");
	expect_file("text", fixture_file("text.so", "return 1\n", 9), PLUGIN_NOT_ELF, "expected an ELF shared object");
	expect_file("magic only", fixture_file("short.so", "\177ELF", 4), PLUGIN_NOT_ELF, "expected an ELF");
	snprintf(path, sizeof path, "%s/folder.so", fixture_dir());
	mkdir(path, 0755);
	expect_file("folder", path, PLUGIN_NOT_READABLE, "found a folder");
	snprintf(path, sizeof path, "%s/fifo.so", fixture_dir());
	mkfifo(path, 0644);
	expect_file("FIFO", path, PLUGIN_NOT_READABLE, "found a FIFO");
	snprintf(path, sizeof path, "%s/zero.so", fixture_dir());
	cr_assert_eq(symlink("/dev/zero", path), 0);
	expect_file("device", path, PLUGIN_NOT_READABLE, "found a device");
	expect_file("text with a name that is none", fixture_file("README.md", "# a plugin\n", 11), PLUGIN_NOT_ELF,
	            "expected an ELF shared object");
	expect_file("missing, with a name that is none", "/nonexistent/Fair!.so", PLUGIN_NOT_READABLE, "No such file");
	snprintf(path, sizeof path, "%s/Fair!.so", fixture_dir());
	cr_assert_eq(rename(fixture_plugin("tests/abi/bad", "good"), path), 0);
	expect_file("name", path, PLUGIN_NAME, "a-z, 0-9");
	expect_file("name without a path", "Fair!", PLUGIN_NAME, "a-z, 0-9");
	expect_file("relative", "../nowhere/fair", PLUGIN_NOT_READABLE, "No such file");
	expect_file("no name", "", PLUGIN_NAME, "a plugin's name is");
}

/* A built plugin with one field of its ELF header changed. */
Test(plugin_refusals, elf_headers)
{
	size_t len = 0;
	char *data = fixture_read(fixture_plugin("tests/abi/bad", "good"), &len);
	cr_assert(data);
	Elf64_Ehdr good;
	memcpy(&good, data, sizeof good);
	Elf64_Ehdr *head = (Elf64_Ehdr *) (void *) data;
	head->e_machine = good.e_machine == EM_S390 ? EM_PPC64 : EM_S390;
	expect_file("other machine", fixture_file("good.so", data, len), PLUGIN_NOT_ELF, "built for another machine");
	*head = good;
	head->e_ident[EI_CLASS] = ELFCLASS32;
	expect_file("32 bit", fixture_file("good.so", data, len), PLUGIN_NOT_ELF, "32-bit");
	*head = good;
	head->e_type = ET_EXEC;
	expect_file("program", fixture_file("good.so", data, len), PLUGIN_NOT_ELF, "found a program");
	head->e_type = ET_CORE;
	expect_file("core", fixture_file("good.so", data, len), PLUGIN_NOT_ELF, "found a core dump");
	head->e_type = ET_REL;
	expect_file("object", fixture_file("good.so", data, len), PLUGIN_NOT_ELF, "found an object file");
	*head = good;
	head->e_phoff = UINT64_MAX - 8;
	expect_file("segments nowhere", fixture_file("good.so", data, len), PLUGIN_NOT_ELF, "cut short");
	*head = good;
	head->e_phnum = 0;
	expect_file("no segments", fixture_file("good.so", data, len), PLUGIN_NOT_ELF, "cut short");
	*head = good;
	/* Every length up to the end of the first pages: none may be loaded, none may kill us. */
	for (size_t n = 0; n < 4096 && n < len; n += 61)
		expect_file("truncated", fixture_file("good.so", data, n), PLUGIN_NOT_ELF, "");
	free(data);
}

Test(plugin_refusals, writable_by_others)
{
	char path[PATH_MAX + 64], inner[PATH_MAX + 32], link[PATH_MAX + 64];
	snprintf(path, sizeof path, "%s", fixture_plugin("tests/abi/bad", "good"));
	chmod(path, 0664);
	expect_file("group", path, PLUGIN_UNSAFE, "writable by its group (mode 0664)");
	chmod(path, 0646);
	expect_file("everybody", path, PLUGIN_UNSAFE, "writable by everybody (mode 0646)");
	chmod(path, 0644);
	chmod(fixture_dir(), 0770);
	expect_file("folder", path, PLUGIN_UNSAFE, "chmod go-w");
	chmod(fixture_dir(), 0755);

	snprintf(inner, sizeof inner, "%s/open", fixture_dir());
	mkdir(inner, 0755);
	char moved[PATH_MAX + 64];
	snprintf(moved, sizeof moved, "%s/good.so", inner);
	cr_assert_eq(rename(path, moved), 0);
	chmod(inner, 0777);
	snprintf(link, sizeof link, "%s/good.so", fixture_dir());
	cr_assert_eq(symlink(moved, link), 0);
	expect_file("link into an open folder", link, PLUGIN_UNSAFE, "/open is writable by everybody");
	chmod(inner, 01777);
	struct plugin_spec spec = { .name = link };
	sl_error error;
	struct plugin *p = plugin_open(&spec, NULL, NULL, &error);
	if (geteuid() == 0)
		cr_expect(p, "root's sticky folder is fine: %s", error.text);
	else
		cr_expect_null(p, "a sticky folder of somebody else's is not");
	plugin_close(p, 0);
}

Test(plugin_refusals, foreign_owner)
{
	if (geteuid() != 0)
		cr_skip_test("only root can give files away");
	const char *path = fixture_plugin("tests/abi/bad", "good");
	cr_assert_eq(chown(path, 12345, 12345), 0);
	expect_file("owner", path, PLUGIN_UNSAFE, "belongs to user 12345");
}

struct looked {
	const char *file;
	enum plugin_refusal refusal;
	const char *words;
};

Test(plugin_refusals, a_child_looks, .timeout = 60)
{
	static const struct looked looks[] = {
		{ "good", PLUGIN_FINE, "fine" },
		{ "options", PLUGIN_FINE, "password       secret         what opens the door; required" },
		{ "major", PLUGIN_MAJOR, "wants ABI 2.7" },
		{ "check_no", PLUGIN_OPTION, "low is above high" },
		{ "open_fails", PLUGIN_FINE, "a test" },
		{ "crash", PLUGIN_CRASH, "killed its process with SIGSEGV" },
		{ "exits", PLUGIN_CRASH, "ended its process with exit status 0" },
		{ "check_hangs", PLUGIN_OPEN, "check() did not return within 1200 ms" },
		{ "load_hangs", PLUGIN_CRASH, "hung for more than 1500 ms" },
	};
	plugin_limit_ms = 1500;
	for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
		struct buf out = { 0 };
		enum plugin_refusal refusal = plugin_check_file(fixture_plugin("tests/abi/bad", looks[i].file), &out);
		char *text = buf_take(&out);
		cr_expect_eq(refusal, looks[i].refusal, "%s: %d: %s", looks[i].file, refusal, text);
		cr_expect(text && strstr(text, looks[i].words), "%s: '%s' stands in: %s", looks[i].file, looks[i].words, text);
		free(text);
	}
}

Test(plugin_refusals, list, .timeout = 60)
{
	char folder[PATH_MAX + 16], path[PATH_MAX + 64];
	snprintf(folder, sizeof folder, "%s/scheduler", fixture_dir());
	mkdir(folder, 0755);
	static const char *const names[] = { "good", "crash" };
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s.so", folder, names[i]);
		cr_assert_eq(rename(fixture_plugin("tests/abi/bad", names[i]), path), 0);
	}
	setenv("SLUICE_PLUGIN_PATH", fixture_dir(), 1);
	cr_assert_str_eq(plugin_folder(), fixture_dir());
	json_t *list = plugin_list();
	cr_assert_eq(json_array_size(list), 2);
	const json_t *crash = json_array_get(list, 0), *good = json_array_get(list, 1);
	cr_expect_str_eq(json_string_value(json_object_get(crash, "name")), "crash");
	cr_expect(strstr(json_string_value(json_object_get(crash, "refusal")), "SIGSEGV"));
	cr_expect_str_eq(json_string_value(json_object_get(good, "abi")), "1.1");
	cr_expect_str_eq(json_string_value(json_object_get(good, "kind")), "scheduler");
	cr_expect_str_eq(json_string_value(json_object_get(good, "refusal")), "");
	json_decref(list);

	struct plugin_spec spec = { .kind = SL_KIND_SCHEDULER, .name = "good" };
	sl_error error = { 0 };
	struct plugin *p = plugin_open(&spec, NULL, NULL, &error);
	cr_assert(p, "by name alone: %s", error.text);
	plugin_close(p, 0);
	spec.name = "fair";
	cr_assert_null(plugin_open(&spec, NULL, NULL, &error));
	cr_expect(strstr(error.text, "/scheduler/fair.so: No such file") && strstr(error.text, "SLUICE_PLUGIN_PATH"), "%s",
	          error.text);
}

Test(plugin_refusals, kinds)
{
	cr_expect_str_eq(plugin_kind_name(SL_KIND_BACKEND), "backend");
	cr_expect_null(plugin_kind_name(0));
	cr_expect_null(plugin_kind_name(6));
	for (uint32_t kind = 1; kind <= 5; kind++) {
		const char *name = plugin_kind_name(kind);
		cr_expect_eq(plugin_kind_number((sl_str){ name, strlen(name) }), kind);
	}
	cr_expect_eq(plugin_kind_number((sl_str){ "authx", 5 }), 0);
}
