/* SPDX-License-Identifier: Apache-2.0 */
/* test_agent.c - the agent's parts that need no agent: files, logs, processes, trees, names. */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/agent/lease.h"
#include "core/agent/logs.h"
#include "core/agent/proc.h"
#include "core/agent/tree.h"
#include "core/base/str.h"

static char folder[64];

static void make_folder(void)
{
	strcpy(folder, "/tmp/sluice-test-agent.XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
}

static void drop_folder(void)
{
	files_remove_folder(folder);
}

Test(files, json, .init = make_folder, .fini = drop_folder)
{
	sl_error e = { 0 };
	struct stat st;
	char path[128];
	json_t *one = json_pack("{s:i}", "n", 1), *two = json_pack("{s:i}", "n", 2);
	cr_assert_eq(files_write_json(folder, "a.json", one, &e), SL_OK, "%s", e.text);
	cr_assert_eq(files_write_json(folder, "a.json", two, &e), SL_OK, "%s", e.text);
	json_t *back = files_read_json(folder, "a.json", &e);
	cr_expect(json_equal(back, two), "the newer one is there");
	snprintf(path, sizeof path, "%s/a.json", folder);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0600, "nobody else reads it");
	cr_expect_null(files_read_json(folder, "b.json", &e), "none");
	cr_expect_eq(e.code, SL_ENOTFOUND);
	FILE *f = fopen(path, "w");
	fputs("{\"n\":", f);
	fclose(f);
	cr_expect_null(files_read_json(folder, "a.json", &e), "half a document");
	cr_expect(strstr(e.text, "a.json"), "is named: %s", e.text);
	f = fopen(path, "w");
	fputs("[1]", f);
	fclose(f);
	cr_expect_null(files_read_json(folder, "a.json", &e), "no object");
	cr_expect_eq(files_write_json("/nonexistent", "a.json", one, &e), SL_EIO, "no folder");
	json_decref(back);
	json_decref(one);
	json_decref(two);
}

static void append(const char *name, const char *byte, size_t n)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "a");
	for (size_t i = 0; i < n; i++)
		fputc(byte[i % strlen(byte)], f);
	fclose(f);
}

Test(logs, ring, .init = make_folder, .fini = drop_folder)
{
	struct log_file log = { .fd = -1 };
	struct buf data = { 0 };
	int64_t from = 0;
	cr_expect(!log_file_tick(&log, 1000), "a file that is not there does not grow");
	append("out", "abcdefgh", 1000000);
	log_file_open(&log, folder, "out");
	cr_assert_geq(log.fd, 0);
	cr_expect(log_file_tick(&log, 200000), "it has grown");
	cr_expect(!log_file_tick(&log, 200000), "and now it has not");
	cr_expect_eq(log.size, 1000000);
	cr_expect(log.first > 0 && log.first <= 800000, "at least what was asked for is kept: from %lu", (unsigned long) log.first);
	cr_assert(log_file_read(&log, &from, 10, &data));
	cr_expect_eq(from, (int64_t) log.first, "what is lost is told");
	cr_expect_eq(data.len, 10);
	cr_expect_eq(data.data[0], "abcdefgh"[from % 8], "offsets are true");
	buf_clear(&data);
	from = -3;
	cr_assert(log_file_read(&log, &from, 100, &data));
	cr_expect(from == 999997 && str_eq(buf_str(&data), STR("fgh")), "the last three");
	buf_clear(&data);
	from = 5000000;
	cr_assert(log_file_read(&log, &from, 100, &data));
	cr_expect(from == 1000000 && data.len == 0, "past the end is the end");
	from = INT64_MIN / 2;
	cr_assert(log_file_read(&log, &from, 1, &data));
	cr_expect_eq(from, (int64_t) log.first, "before the beginning is the beginning");
	buf_free(&data);
	log_file_close(&log);
}

/* A program that opens /dev/stdout anew cuts its log to nothing. */
Test(logs, cut, .init = make_folder, .fini = drop_folder)
{
	struct log_file log = { .fd = -1 };
	struct buf data = { 0 };
	int64_t from = 0;
	append("out", "x", 1000);
	log_file_open(&log, folder, "out");
	log_file_tick(&log, 1 << 20);
	cr_assert_eq(ftruncate(log.fd, 0), 0);
	append("out", "y", 10);
	log_file_tick(&log, 1 << 20);
	cr_expect_eq(log.size, 1010, "offsets never go back");
	cr_assert(log_file_read(&log, &from, 100, &data));
	cr_expect(from == 1000 && data.len == 10 && data.data[0] == 'y', "what came afterwards is there");
	buf_free(&data);
	log_file_close(&log);
}

/* As on a file system that punches no holes. */
Test(logs, without_holes, .init = make_folder, .fini = drop_folder)
{
	struct log_file log = { .fd = -1, .no_holes = true };
	append("out", "x", 500000);
	log_file_open(&log, folder, "out");
	log_file_tick(&log, 100000);
	append("out", "y", 10);
	log_file_tick(&log, 100000);
	cr_expect(log.first == 500000 && log.size == 500010, "cut, and the count goes on: %lu to %lu", (unsigned long) log.first,
	          (unsigned long) log.size);
	log_file_close(&log);
}

Test(proc, own)
{
	struct proc p;
	cr_assert(proc_read(getpid(), &p), "we are there");
	cr_expect_eq(p.parent, getppid());
	cr_expect_eq(p.session, getsid(0));
	int fd = proc_open(p.pid, p.start);
	cr_assert_geq(fd, 0, "known by pid and start");
	cr_expect(!proc_ended(fd), "and alive");
	close(fd);
	cr_expect_lt(proc_open(p.pid, p.start + 1), 0, "the same pid of another start is somebody else");
	cr_expect_lt(proc_open(0, 0), 0);
	cr_expect_lt(proc_open(-1, 0), 0);
	p.start++;
	cr_expect(!proc_signal(&p, SIGKILL), "a stranger is not hit");
}

Test(proc, zombie)
{
	struct proc p;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	siginfo_t info;
	waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT);
	cr_assert(proc_read(pid, &p));
	cr_expect_eq(p.state, 'Z');
	waitpid(pid, NULL, 0);
	cr_expect(!proc_read(pid, &p), "reaped ones are gone");
}

static pid_t spawn_sleeper(const char *mark)
{
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		char *const argv[] = { (char *) (uintptr_t) "sleep", (char *) (uintptr_t) "1000", NULL };
		char *const env[] = { (char *) (uintptr_t) mark, NULL };
		execve("/bin/sleep", argv, env);
		_exit(1);
	}
	while (!proc_has_env(pid, mark))
		usleep(1000);
	return pid;
}

Test(tree, by_mark)
{
	struct containment where;
	char why[128], mark[128], other[128];
	containment_open(&where, "/state/of/a/test", true, why, sizeof why);
	cr_assert(!where.cgroup2);
	struct tree t = { .where = &where, .lease = "L1" }, u = { .where = &where, .lease = "L2" };
	tree_mark(&t, mark, sizeof mark);
	tree_mark(&u, other, sizeof other);
	cr_expect_str_neq(mark, other);
	pid_t mine = spawn_sleeper(mark), stranger = spawn_sleeper(other);
	cr_expect(!tree_empty(&t), "it is found by its mark alone");
	tree_kill(&t);
	int status;
	cr_assert_eq(waitpid(mine, &status, 0), mine);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "killed");
	cr_expect(tree_empty(&t), "nothing is left");
	cr_expect_eq(waitpid(stranger, &status, WNOHANG), 0, "another lease's lives");
	kill(stranger, SIGKILL);
	waitpid(stranger, &status, 0);
}

Test(tree, marks_differ_by_folder)
{
	struct containment a, b;
	char why[128];
	containment_open(&a, "/var/lib/one", true, why, sizeof why);
	containment_open(&b, "/var/lib/two", true, why, sizeof why);
	cr_expect_str_neq(a.mark, b.mark, "two agents on one machine do not meet");
}

Test(lease, names)
{
	static const char *const good[] = { "L1042", "a", "a.b_c-d", "0" };
	static const char *const bad[] = { "", ".", "..", "-x", "_x", "a/b", "a b", "\xc3\xa4", "a\n", "supervisors" };
	char longest[SL_NAME_MAX + 1];
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		cr_expect(lease_name_ok(good[i]), "%s is a name", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect(!lease_name_ok(bad[i]), "\"%s\" is none", bad[i]);
	memset(longest, 'x', sizeof longest);
	longest[SL_NAME_MAX - 1] = '\0';
	cr_expect(lease_name_ok(longest), "63 letters");
	longest[SL_NAME_MAX - 1] = 'x';
	longest[SL_NAME_MAX] = '\0';
	cr_expect(!lease_name_ok(longest), "64 are too many");
}
