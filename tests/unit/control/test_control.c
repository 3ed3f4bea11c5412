/* SPDX-License-Identifier: Apache-2.0 */
/* test_control.c - the control door over a real socket, with the real ledger, identities and configuration. A plain
 * program, since the door runs on a thread of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "tests/unit/control/door.h"
#include "tests/unit/tap.h"

#define DANA "physics/dana:lease"
#define EVE "physics/eve:lease"
#define BOB "chemistry/bob:lease"
#define OPERATOR "staff/olga:operator+lease"
#define ADMIN "staff/ada:admin"

static void expect(const char *who, const char *method, const char *path, const char *body, int status, const char *contains)
{
	struct answer a = door_call(who, method, path, body);
	bool fine = a.status == status && (!contains || strstr(a.body, contains));
	if (!tap_ok(fine, "%s %s as %s: %d", method, path, who ? who : "nobody", status))
		printf("# %d, wanted %s: %.400s\n", a.status, contains ? contains : "", a.body);
	answer_free(&a);
}

static const char *error_code(const struct answer *a)
{
	return json_get_str(json_object_get(a->json, "error"), "code", "");
}

static void expect_error(const char *who, const char *method, const char *path, const char *body, int status, const char *code)
{
	struct answer a = door_call(who, method, path, body);
	const json_t *error = json_object_get(a.json, "error");
	bool fine = a.status == status && strcmp(error_code(&a), code) == 0 && json_get_str(error, "message", "")[0] &&
	            json_get_str(error, "type", "")[0] && json_object_get(error, "param");
	if (!tap_ok(fine, "%s %s as %s: %d %s", method, path, who ? who : "nobody", status, code))
		printf("# %d: %.400s\n", a.status, a.body);
	answer_free(&a);
}

static void expect_head(const char *path, int status)
{
	struct answer a = door_call(NULL, "HEAD", path, NULL);
	if (!tap_ok(a.status == status && a.body[0] == '\0', "HEAD %s: %d without a body", path, status))
		printf("# %d: %.400s\n", a.status, a.body);
	answer_free(&a);
}

static void test_open_paths(void)
{
	expect(NULL, "GET", "/healthz", NULL, 200, "ok");
	expect(NULL, "GET", "/readyz", NULL, 200, "ready");
	expect_head("/healthz", 200);
	expect_head("/readyz", 200);
	expect_head("/metrics", 200);
	expect_head("/v1/status", 405);
	atomic_store(&door_ready, false);
	expect(NULL, "GET", "/readyz", NULL, 503, "not ready: draining");
	expect(OPERATOR, "GET", "/v1/status", NULL, 200, "\"not_ready\":\"draining\"");
	expect(NULL, "GET", "/healthz", NULL, 200, "ok");
	atomic_store(&door_ready, true);
	expect(NULL, "GET", "/metrics", NULL, 200, "sluice_devices{state=\"faulty\"} 1");
	expect(NULL, "GET", "/metrics", NULL, 200, "sluice_model_waiting{model=\"tiny\"} 4");
	expect_error(DANA, "GET", "/v1/nothing", NULL, 404, "unknown_path");
	expect_error(DANA, "GET", "/v1/gpu/leases/", NULL, 404, "unknown_path");
	expect_error(DANA, "GET", "/", NULL, 404, "unknown_path");
	expect_error(DANA, "PUT", "/v1/gpu/leases", NULL, 405, "method_not_allowed");
	expect_error(DANA, "GET", "/v1/gpu/leases/%zz", NULL, 404, "unknown_path");
}

static void test_tcp(void)
{
	static const char *const paths[] = { "/v1/status", "/v1/keys", "/v1/gpu/leases", "/v1/reload" };
	struct answer a = door_call_tcp("GET", "/metrics");
	tap_ok(a.status == 200 && strstr(a.body, "sluice_ready 1"), "metrics over TCP");
	answer_free(&a);
	a = door_call_tcp("GET", "/readyz");
	tap_ok(a.status == 200, "readyz over TCP");
	answer_free(&a);
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		a = door_call_tcp(i == 3 ? "POST" : "GET", paths[i]);
		tap_ok(a.status == 404, "%s is not there over TCP", paths[i]);
		answer_free(&a);
	}
}

static void test_who(void)
{
	expect_error(NULL, "GET", "/v1/models", NULL, 401, "unauthenticated");
	expect_error("no", "GET", "/v1/models", NULL, 401, "unauthenticated");
	expect_error("x/y:infer", "GET", "/v1/status", NULL, 403, "inference_key");
	expect("x/y:infer", "GET", "/v1/models", NULL, 200, "\"endpoints\":null");
	expect("physics/y:infer", "GET", "/v1/me", NULL, 200, "\"tier\":\"free\",\"roles\":[\"infer\"],\"session_ends_at\":null");
	expect_error(ADMIN, "POST", "/v1/session", "{\"key\":\"x\"}", 404, "unknown_path");
	expect_error(ADMIN, "POST", "/v1/play", "{}", 404, "unknown_path");
	expect(DANA, "GET", "/v1/models", NULL, 200, "tiny");
	expect("later " DANA, "GET", "/v1/models", NULL, 200, "tiny");
	expect_error("later " DANA, "GET", "/v1/tenants", NULL, 403, "role_missing");
	expect_error("x/y:operator", "POST", "/v1/keys", "{}", 403, "role_missing");
	expect_error(DANA, "POST", "/v1/reload", NULL, 403, "role_missing");
	expect(ADMIN, "GET", "/v1/tenants", NULL, 200, "physics");
	/* One that leaves while the plugin thinks. */
	int fd = door_connect("later " DANA, "GET", "/v1/models");
	close(fd);
	usleep(20000);
	expect(DANA, "GET", "/v1/replicas", NULL, 200, "tiny/r1");
}

static void three_leases(void *arg)
{
	(void) arg;
	fake_lease(7, "train", "physics", "dana", "running");
	fake_lease(8, "sweep", "physics", "eve", "running");
	fake_lease(9, "old", "physics", "dana", "ended");
}

static void test_lease_lists(void)
{
	door_run(three_leases, NULL);
	struct answer a = door_call(DANA, "GET", "/v1/gpu/leases", NULL);
	tap_ok(json_array_size(a.json) == 3, "one's own leases, those of before the start too");
	tap_ok(!strstr(a.body, "topsecret") && !strstr(a.body, "\"env\""), "no environment in a list");
	answer_free(&a);
	a = door_call(DANA, "GET", "/v1/gpu/leases?state=open", NULL);
	tap_ok(json_array_size(a.json) == 1, "open ones");
	answer_free(&a);
	a = door_call(DANA, "GET", "/v1/gpu/leases?state=ended&limit=5", NULL);
	tap_ok(json_array_size(a.json) == 2 && strstr(a.body, "\"L9\"") && strstr(a.body, "\"L5\""), "ended ones");
	tap_ok(strstr(a.body, "\"name\":\"old\""), "once, as the pool knows it");
	answer_free(&a);
	a = door_call(OPERATOR, "GET", "/v1/gpu/leases?all=1", NULL);
	tap_ok(json_array_size(a.json) == 6 && strstr(a.body, "\"L9\"") < strstr(a.body, "\"L8\"") &&
	       strstr(a.body, "\"L8\"") < strstr(a.body, "\"L4\""), "everybody's, newest first");
	answer_free(&a);
	a = door_call(OPERATOR, "GET", "/v1/gpu/leases?all=1&before=L5&limit=1", NULL);
	tap_ok(json_array_size(a.json) == 1 && strstr(a.body, "\"L4\""), "the next page");
	answer_free(&a);
	atomic_store(&fake_store.broken, true);
	a = door_call(OPERATOR, "GET", "/v1/gpu/leases?all=1", NULL);
	tap_ok(json_array_size(a.json) == 3, "what the pool knows, while the store is ill");
	atomic_store(&fake_store.broken, false);
	answer_free(&a);
	a = door_call(OPERATOR, "GET", "/v1/gpu/leases?all=1&limit=1", NULL);
	tap_ok(json_array_size(a.json) == 1, "limited");
	answer_free(&a);
	expect(OPERATOR, "GET", "/v1/gpu/leases", NULL, 200, "[]");
	expect_error(DANA, "GET", "/v1/gpu/leases?all=1", NULL, 403, "role_missing");
	expect_error(DANA, "GET", "/v1/gpu/leases?limit=0", NULL, 400, "invalid_parameter");
	expect_error(DANA, "GET", "/v1/gpu/leases?limit=x", NULL, 400, "invalid_parameter");
	expect_error(DANA, "GET", "/v1/gpu/leases?state=odd", NULL, 400, "invalid_parameter");
	expect_error(DANA, "GET", "/v1/gpu/leases?before=odd", NULL, 400, "invalid_parameter");
	expect(DANA, "GET", "/v1/gpu/leases/L5", NULL, 200, "\"history\":[");
	expect(OPERATOR, "GET", "/v1/gpu/leases/3", NULL, 200, "\"stored\"");
	expect_error(DANA, "GET", "/v1/gpu/leases/L3", NULL, 404, "unknown_lease");
	expect_error(DANA, "GET", "/v1/gpu/leases/L6", NULL, 404, "unknown_lease");
}

static void test_one_lease(void)
{
	expect(DANA, "GET", "/v1/gpu/leases/L7", NULL, 200, "\"history\":[{\"at\":\"2026-11-24T00:00:00.000Z\",\"state\":\"queued\"");
	expect(DANA, "GET", "/v1/gpu/leases/7", NULL, 200, "\"L7\"");
	expect(DANA, "GET", "/v1/gpu/leases/train", NULL, 200, "\"L7\"");
	struct answer a = door_call(DANA, "GET", "/v1/gpu/leases/L7", NULL);
	tap_ok(!strstr(a.body, "topsecret"), "no environment in a lease, nor in its history");
	answer_free(&a);
	atomic_store(&fake_store.broken, true);
	expect(DANA, "GET", "/v1/gpu/leases/L7", NULL, 200, "\"history\":null");
	atomic_store(&fake_store.broken, false);
	expect_error(EVE, "GET", "/v1/gpu/leases/L7", NULL, 404, "unknown_lease");
	expect_error(BOB, "GET", "/v1/gpu/leases/train", NULL, 404, "unknown_lease");
	expect_error(DANA, "GET", "/v1/gpu/leases/L99", NULL, 404, "unknown_lease");
	expect_error(EVE, "DELETE", "/v1/gpu/leases/L7", NULL, 404, "unknown_lease");
	expect(OPERATOR, "GET", "/v1/gpu/leases/L7", NULL, 200, "\"L7\"");
	expect(DANA, "DELETE", "/v1/gpu/leases/L7?notice_s=3&reason=too+slow", NULL, 202, "\"L7\"");
	tap_ok(fake_pool.released == 7 && fake_pool.notice_ms == 3000 && strcmp(fake_pool.reason, "too slow") == 0, "released as said");
	expect(DANA, "POST", "/v1/gpu/leases/L7/signal", "{\"signal\":2}", 202, NULL);
	tap_ok(fake_pool.signalled == 7 && fake_pool.signal == 2, "signalled");
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/signal", "{\"signal\":65}", 400, "invalid_value");
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/signal", "{}", 400, "missing_field");
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/signal", "[]", 400, "invalid_json");
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/signal", "{\"signal\":2", 400, "invalid_json");
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/signal", "{\"singal\":2}", 400, "unknown_field");
	expect(DANA, "POST", "/v1/gpu/leases/L7/stdin?eof=1", "some bytes", 200, NULL);
	tap_ok(fake_pool.stdin_bytes == 10 && fake_pool.stdin_eof, "input arrives, and its end");
	expect(DANA, "POST", "/v1/gpu/leases/L7/stdin?writer=5&from=100", "abc", 200, "{\"taken\":102}");
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/stdin?writer=0&from=1", "x", 400, "invalid_parameter");
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/stdin?writer=5&from=-1", "x", 400, "invalid_parameter");
	fake_pool.stdin_code = SL_EUNAVAILABLE;
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/stdin?writer=5", "x", 503, "unavailable");
	fake_pool.stdin_code = SL_EAGAIN;
	expect_error(DANA, "POST", "/v1/gpu/leases/L7/stdin", "x", 503, "pipe_full");
	expect(DANA, "GET", "/v1/gpu/leases/L7/logs", NULL, 200, "");
	expect_error(DANA, "GET", "/v1/gpu/leases/L9/logs", NULL, 404, "not_found");
	expect_error(DANA, "GET", "/v1/gpu/leases/L5/logs", NULL, 404, "no_log");
	expect_error(DANA, "GET", "/v1/gpu/leases/L5/stream", NULL, 404, "no_log");
	expect_error(DANA, "GET", "/v1/gpu/leases/L4/logs", NULL, 404, "unknown_lease");
	expect_error(DANA, "GET", "/v1/gpu/leases/L6/logs", NULL, 404, "unknown_lease");
	expect_error(DANA, "GET", "/v1/gpu/leases/none/logs", NULL, 404, "unknown_lease");
	fake_pool.log = "0123456789";
	struct answer logs = door_call(DANA, "GET", "/v1/gpu/leases/L7/logs?source=out&from=2&max=5", NULL);
	tap_ok(logs.status == 200 && strcmp(logs.body, "23456") == 0, "a piece of the log: %s", logs.body);
	answer_free(&logs);
	logs = door_call(DANA, "GET", "/v1/gpu/leases/L7/logs", NULL);
	tap_ok(strcmp(logs.body, "0123456789") == 0, "the whole log, from many pieces: %s", logs.body);
	answer_free(&logs);
	expect_error(DANA, "GET", "/v1/gpu/leases/L7/logs?source=both", NULL, 400, "invalid_parameter");
}

static void test_new_lease(void)
{
	expect(DANA, "POST", "/v1/gpu/leases",
	       "{\"argv\":[\"/usr/bin/python\",\"train.py\"],\"gpus\":2,\"time_s\":60,\"env\":{\"A\":\"1\"},\"cwd\":\"/tmp\",\"detach\":true}", 201,
	       "\"L1001\"");
	tap_ok(strcmp(fake_pool.asked_name, "python") == 0 && strcmp(fake_pool.asked_tenant, "physics") == 0 &&
	               strcmp(fake_pool.asked_user, "dana") == 0 && strcmp(fake_pool.asked_queue, "research") == 0,
	       "name, owner and queue by default");
	tap_ok(fake_pool.asked.devices == 2 && fake_pool.asked.time_ms == 60000 && fake_pool.asked.uid == getuid() &&
	               fake_pool.asked.gid == getgid() && fake_pool.asked.detach && !fake_pool.asked.with_stdin,
	       "and what was asked, as the peer's user");
	expect(DANA, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"],\"name\":\"moved\",\"time_s\":60}", 201, NULL);
	tap_ok(strcmp(fake_pool.asked_queue, "models") == 0 && fake_pool.asked.priority == 9 && fake_pool.asked.time_ms == 30000,
	       "the policy changes the terms");
	expect(DANA, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"],\"name\":\"long\"}", 201, NULL);
	tap_ok(fake_pool.asked.time_ms == 3600000, "within the queue's bound");
	expect(EVE, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"]}", 429, "Ask physics tomorrow.");
	expect_error(EVE, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"]}", 429, "not_today");
	expect_error(DANA, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"],\"name\":\"broken\"}", 500, "policy_error");
	struct answer a = door_call(DANA, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"],\"queue\":\"reserach\"}");
	tap_ok(a.status == 400 && strcmp(error_code(&a), "unknown_queue") == 0 && strstr(a.body, "\"try\":\"--queue research\""),
	       "a queue that does not exist: %s", a.body);
	answer_free(&a);
	expect_error(DANA, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"],\"queue\":\"models\"}", 403, "queue_denied");
	expect(OPERATOR, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"],\"queue\":\"models\",\"priority\":5}", 201, NULL);
	static const struct {
		const char *body, *code;
		int status;
	} bad[] = {
		{ "", "missing_command", 400 },
		{ "{}", "missing_command", 400 },
		{ "{\"argv\":[]}", "missing_command", 400 },
		{ "{\"argv\":[\"\"]}", "missing_command", 400 },
		{ "{\"argv\":\"ls\"}", "invalid_type", 400 },
		{ "{\"argv\":[1]}", "invalid_type", 400 },
		{ "{\"argv\":[\"a\\u0000b\"]}", "invalid_json", 400 },
		{ "{\"argv\":[\"x\"],\"gpus\":-1}", "invalid_value", 400 },
		{ "{\"argv\":[\"x\"],\"gpus\":1.5}", "invalid_value", 400 },
		{ "{\"argv\":[\"x\"],\"gpus\":1e400}", "invalid_json", 400 },
		{ "{\"argv\":[\"x\"],\"time_s\":9223372036854775807}", "invalid_value", 400 },
		{ "{\"argv\":[\"x\"],\"name\":\"../../etc\"}", "invalid_name", 400 },
		{ "{\"argv\":[\"x\"],\"cwd\":\"tmp\"}", "invalid_value", 400 },
		{ "{\"argv\":[\"x\"],\"env\":{\"A\":1}}", "invalid_type", 400 },
		{ "{\"argv\":[\"x\"],\"env\":{\"A=B\":\"1\"}}", "invalid_type", 400 },
		{ "{\"argv\":[\"x\"],\"env\":[]}", "invalid_type", 400 },
		{ "{\"argv\":[\"x\"],\"stdin\":1}", "invalid_type", 400 },
		{ "{\"argv\":[\"x\"],\"priority\":1}", "priority_denied", 403 },
		{ "{\"argv\":[\"x\"],\"gpu\":1}", "unknown_field", 400 },
		{ "{\"argv\":[\"x\"],\"argv\":[\"y\"]}", "invalid_json", 400 },
		{ "null", "invalid_json", 400 },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		expect_error(DANA, "POST", "/v1/gpu/leases", bad[i].body, bad[i].status, bad[i].code);
	fake_pool.refuse = true;
	expect(DANA, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"],\"gpus\":8}", 400, "8 GPUs can never fit: there are 2");
	fake_pool.refuse = false;
	expect_error("x/y:operator", "POST", "/v1/gpu/leases", "{}", 400, "missing_command");
}

static void test_one_name_of_two_leases(void)
{
	static const struct {
		const char *method, *path;
	} calls[] = { { "GET", "/v1/gpu/leases/dup" }, { "DELETE", "/v1/gpu/leases/dup" }, { "GET", "/v1/gpu/leases/dup/logs" } };
	fake_lease(901, "dup", "physics", "dana", "running");
	fake_lease(902, "dup", "physics", "dana", "running");
	fake_lease(903, "mine", "physics", "dana", "running");
	fake_lease(904, "mine", "chem", "carl", "running");
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		expect_error(DANA, calls[i].method, calls[i].path, NULL, 409, "ambiguous_name");
		expect(DANA, calls[i].method, calls[i].path, NULL, 409, "dup is L901 and L902: name one of them by its number");
		expect_error(EVE, calls[i].method, calls[i].path, NULL, 404, "unknown_lease");
	}
	expect(DANA, "GET", "/v1/gpu/leases/mine", NULL, 200, "\"L903\"");
	expect_error(OPERATOR, "GET", "/v1/gpu/leases/mine", NULL, 409, "ambiguous_name");
	for (int i = 901; i <= 904; i++) {
		char key[8];
		snprintf(key, sizeof key, "%d", i);
		json_object_del(fake_pool.leases, key);
	}
}

static void test_drained(void)
{
	uint64_t last = fake_pool.last;
	expect(OPERATOR, "POST", "/v1/drain", "{}", 200, "\"draining\":true");
	expect_error(DANA, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"]}", 503, "not_ready");
	expect(OPERATOR, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"]}", 503, "sluicectl undrain");
	tap_ok(fake_pool.last == last, "the pool was not asked");
	expect(DANA, "GET", "/v1/gpu/leases/L7", NULL, 200, "\"L7\"");
	expect(OPERATOR, "POST", "/v1/undrain", "{}", 200, "\"draining\":false");
	expect(DANA, "POST", "/v1/gpu/leases", "{\"argv\":[\"x\"]}", 201, NULL);
}

static void say_state(void *arg)
{
	json_t *lease = json_pack("{s:s, s:s, s:{s:s}}", "state", arg, "reason", "because", "env", "K", "topsecret");
	fake_event(lease, NULL, 0, (sl_str){ 0 }, false);
	json_decref(lease);
}

static void say_log(void *arg)
{
	fake_event(NULL, "out", 4096, *(sl_str *) arg, false);
}

static void say_end(void *arg)
{
	(void) arg;
	json_t *lease = json_pack("{s:s, s:s, s:i, s:{s:s}}", "lease", "L7", "state", "ended", "exit_code", 3, "env", "K", "topsecret");
	fake_event(lease, NULL, 0, (sl_str){ 0 }, true);
	json_decref(lease);
}

static void test_stream(void)
{
	char *text = NULL;
	sl_str data = STR("hello\xff");
	int fd = door_connect(DANA, "GET", "/v1/gpu/leases/L7/stream?out=0&err=-1");
	tap_ok(door_read_until(fd, "\"state\":\"running\"", &text), "the state at the beginning");
	door_run(say_state, "running");
	door_run(say_log, &data);
	tap_ok(door_read_until(fd, "{\"log\":\"out\",\"from\":4096,\"data\":\"aGVsbG//\"}\n", &text), "output as base64");
	door_run(say_state, "releasing");
	tap_ok(door_read_until(fd, "\"releasing\"", &text), "a change of state");
	door_run(say_end, NULL);
	tap_ok(door_read_until(fd, "\r\n0\r\n\r\n", &text), "the end of the answer");
	tap_ok(strstr(text, "{\"ended\":{\"lease\":\"L7\",\"state\":\"ended\",\"exit_code\":3}}\n"), "the lease as it ended");
	tap_ok(!strstr(text, "topsecret"), "no environment");
	close(fd);
	free(text);
	expect_error(EVE, "GET", "/v1/gpu/leases/L7/stream", NULL, 404, "unknown_lease");
	expect_error(DANA, "GET", "/v1/gpu/leases/L7/stream?out=x", NULL, 400, "invalid_parameter");
	tap_ok(fake_pool.watches == 0, "nobody watches any more");
}

static void nothing(void *arg)
{
	(void) arg;
}

/* A stream whose first line has come; when this returns, its handler has, too. */
static int begin_stream(char **text)
{
	int fd = door_connect(DANA, "GET", "/v1/gpu/leases/L7/stream");
	bool begun = door_read_until(fd, "\"running\"", text);
	door_run(nothing, NULL);
	tap_ok(begun && fake_pool.watches == 1, "a stream has begun");
	return fd;
}

static void test_stream_of_a_client_that_leaves(void)
{
	char *text = NULL;
	int fd = begin_stream(&text);
	free(text);
	close(fd);
	for (int i = 0; i < 500 && fake_pool.watches; i++) {
		usleep(2000);
		door_run(say_state, i % 2 ? "running" : "releasing");
	}
	tap_ok(fake_pool.watches == 0, "the watch ends with the client");
}

static void test_stream_of_a_client_that_does_not_read(void)
{
	static char much[200000];
	sl_str data = { much, sizeof much };
	char *text = NULL;
	int fd = begin_stream(&text);
	for (int i = 0; i < 40 && fake_pool.watches; i++)
		door_run(say_log, &data);
	tap_ok(fake_pool.watches == 0, "it is cut, at a bound");
	if (!tap_ok(door_read_until(fd, "\"code\":\"too_slow\"}}\n\r\n0\r\n\r\n", &text), "and told why, at the end of what it got"))
		printf("# %zu bytes: ...%s\n", strlen(text), text + (strlen(text) > 300 ? strlen(text) - 300 : 0));
	free(text);
	close(fd);
}

static void test_devices_and_models(void)
{
	expect(DANA, "GET", "/v1/gpu/devices", NULL, 200, "node1/gpu1");
	expect(OPERATOR, "POST", "/v1/gpu/devices/node1/gpu0/drain", "{\"reason\":\"new fan\"}", 200, "\"draining\"");
	expect(OPERATOR, "POST", "/v1/gpu/devices/node1/gpu0/undrain", NULL, 200, "\"free\"");
	expect_error(OPERATOR, "POST", "/v1/gpu/devices/node1/gpu7/drain", "{}", 404, "unknown_device");
	expect_error(DANA, "POST", "/v1/gpu/devices/node1/gpu0/drain", "{}", 403, "role_missing");
	expect(OPERATOR, "POST", "/v1/models/tiny/start", "{}", 202, "\"tiny\"");
	expect(OPERATOR, "POST", "/v1/models/tiny/stop", NULL, 202, "\"tiny\"");
	expect(OPERATOR, "POST", "/v1/models/org/large/start", NULL, 202, NULL);
	expect(OPERATOR, "POST", "/v1/models/org%2Flarge/start", NULL, 202, NULL);
	tap_ok(fake_fleet.started == 3 && fake_fleet.stopped == 1, "the fleet was told");
	expect_error(OPERATOR, "POST", "/v1/models/big/start", NULL, 409, "conflict");
	expect_error(OPERATOR, "POST", "/v1/models/none/start", NULL, 404, "unknown_model");
}

static void test_tenants(void)
{
	expect_error(ADMIN, "POST", "/v1/tenants", "{\"tenant\":\"physics\",\"tier\":\"free\"}", 409, "declared_in_file");
	expect_error(ADMIN, "POST", "/v1/tenants", "{\"tenant\":\"a b\"}", 400, "invalid_name");
	expect_error(ADMIN, "POST", "/v1/tenants", "{\"tenant\":\"chem\",\"tier\":\"gold\"}", 400, "unknown_tier");
	expect_error(ADMIN, "POST", "/v1/tenants", "{\"tenant\":\"chem\",\"queues\":[\"x\"]}", 400, "unknown_queue");
	expect(ADMIN, "POST", "/v1/tenants", "{\"tenant\":\"chem\",\"tier\":\"free\",\"queues\":[\"research\"],\"users\":[\"carl\"]}", 201,
	       "\"source\":\"store\"");
	tap_ok(identity_has_tenant(door_identity(), STR("chem")), "in force when it is answered");
	expect(OPERATOR, "GET", "/v1/tenants", NULL, 200, "\"chem\"");
	expect_error(ADMIN, "DELETE", "/v1/tenants/physics", NULL, 409, "declared_in_file");
	expect_error(ADMIN, "DELETE", "/v1/tenants/nobody", NULL, 404, "unknown_tenant");
}

static bool key_works(const char *secret)
{
	uint8_t digest[32];
	sl_identity who = { .size = sizeof who };
	sl_error error;
	hash_sha256(secret, strlen(secret), digest);
	return identity_find(door_identity(), digest, 1, &who, &error) == SL_OK;
}

static void test_keys(void)
{
	char key[64], secret[64], path[128];
	struct answer a = door_call(ADMIN, "POST", "/v1/keys", "{\"tenant\":\"chem\",\"user\":\"carl\",\"name\":\"notebook\"}");
	str_copy(key, sizeof key, str_of(json_get_str(a.json, "key", "")));
	str_copy(secret, sizeof secret, str_of(json_get_str(a.json, "secret", "")));
	if (!tap_ok(a.status == 201 && strlen(secret) == IDENTITY_KEY_LENGTH && strncmp(secret, key, strlen(key)) == 0, "a new key"))
		printf("# %d %s\n", a.status, a.body);
	answer_free(&a);
	tap_ok(key_works(secret), "it works when it is answered");
	a = door_call(ADMIN, "GET", "/v1/keys?tenant=chem", NULL);
	tap_ok(strstr(a.body, key) && !strstr(a.body, secret) && !strstr(a.body, "digest"), "listed without its secret");
	answer_free(&a);
	expect(DANA, "GET", "/v1/keys", NULL, 200, "[]");
	expect("chem/carl:lease", "GET", "/v1/keys", NULL, 200, key);
	expect("chem/mia:lease", "GET", "/v1/keys", NULL, 200, "[]");
	expect("chem/mia:lease", "GET", "/v1/keys?tenant=chem", NULL, 200, "[]");
	expect("chem/olga:operator", "GET", "/v1/keys", NULL, 200, key);
	expect("chem/:lease", "GET", "/v1/keys", NULL, 200, key);
	expect_error(DANA, "GET", "/v1/keys?tenant=chem", NULL, 404, "unknown_tenant");
	expect_error("/nobody:lease", "GET", "/v1/keys?tenant=chem", NULL, 404, "unknown_tenant");
	expect("/nobody:lease", "GET", "/v1/keys", NULL, 200, "[]");
	expect_error(ADMIN, "DELETE", "/v1/tenants/chem", NULL, 409, "tenant_has_keys");
	snprintf(path, sizeof path, "/v1/keys/%s", key);
	expect_error(ADMIN, "DELETE", path, NULL, 409, "key_not_disabled");
	snprintf(path, sizeof path, "/v1/keys/%s/disable", key);
	expect_error(DANA, "POST", path, NULL, 403, "role_missing");
	expect(ADMIN, "POST", path, "{}", 200, "\"disabled\"");
	tap_ok(!key_works(secret), "disabled when it is answered");
	snprintf(path, sizeof path, "/v1/keys/%s/enable", key);
	expect(ADMIN, "POST", path, NULL, 200, key);
	tap_ok(key_works(secret), "enabled again");
	snprintf(path, sizeof path, "/v1/keys/%s/disable", key);
	expect(ADMIN, "POST", path, NULL, 200, NULL);
	snprintf(path, sizeof path, "/v1/keys/%s", key);
	expect(ADMIN, "DELETE", path, NULL, 200, "\"deleted\":true");
	expect_error(ADMIN, "DELETE", path, NULL, 404, "unknown_key");
	expect_error(ADMIN, "POST", "/v1/keys/slk_nothing/disable", NULL, 404, "unknown_key");
	expect_error(ADMIN, "POST", "/v1/keys", "{\"tenant\":\"nobody\"}", 400, "unknown_tenant");
	expect_error(ADMIN, "POST", "/v1/keys", "{\"tenant\":\"chem\",\"expires_s\":-1}", 400, "invalid_value");
	expect(ADMIN, "DELETE", "/v1/tenants/chem", NULL, 200, "\"deleted\":true");
	tap_ok(!identity_has_tenant(door_identity(), STR("chem")), "the tenant is gone");
}

static bool store_was_asked(const char *tenant, uint64_t since)
{
	pthread_mutex_lock(&fake_store.lock);
	bool fine = strcmp(fake_store.tenant, tenant) == 0 && fake_store.since_ms == since;
	pthread_mutex_unlock(&fake_store.lock);
	return fine;
}

static void test_usage(void)
{
	expect(DANA, "GET", "/v1/usage?by=day,model&since=2026-11-24", NULL, 200,
	       "{\"rows\":[{\"day\":\"2026-11-24\",\"tenant\":null,\"user\":null,\"key\":null,\"model\":\"tiny\",\"hour\":null,"
	       "\"queue\":null,\"kind\":null,\"lease\":null,\"requests\":1,");
	tap_ok(store_was_asked("physics", UINT64_C(1795478400000)), "of one's own tenant, since then");
	expect(DANA, "GET", "/v1/usage", NULL, 200, "\"total\":{\"requests\":2,\"input_tokens\":30,\"cached_tokens\":10,\"output_tokens\":5,"
	                                            "\"gpu_s\":0.0,\"cost\":\"18446744.073709551616\",\"replica_gpu_s\":0.0,"
	                                            "\"replica_cost\":\"0.00\"},\"currency\":\"EUR\"}");
	/* This store is one of ABI 1.0: it has nothing of leases. */
	expect(DANA, "GET", "/v1/usage?by=lease", NULL, 503, "no charges of leases");
	/* No price that was kept makes this cost: the cost itself is the quantity. */
	expect(DANA, "GET", "/v1/usage/focus", NULL, 200, "0.000162,sluice,sluice,EUR,2026-12-01T00:00:00Z,2026-11-01T00:00:00Z,Usage,,"
	       "\"Tokens of tiny, from before prices were kept\",Usage-Based,2026-11-25T00:00:00Z,2026-11-24T00:00:00Z,1164,Tokens,0.000162,1,");
	expect_error(OPERATOR, "GET", "/v1/ledger/verify", NULL, 400, "no_digests");
	expect_error(OPERATOR, "GET", "/v1/ledger/verify?digest=12", NULL, 400, "invalid_parameter");
	expect_error(DANA, "GET", "/v1/ledger/verify", NULL, 403, "role_missing");
	expect(OPERATOR, "GET", "/v1/usage?by=model", NULL, 200, "rows");
	tap_ok(store_was_asked("", 0), "an operator sees everybody's");
	expect(OPERATOR, "GET", "/v1/usage?by=model&tenant=chem", NULL, 200, "rows");
	tap_ok(store_was_asked("chem", 0), "or one tenant's");
	expect_error(DANA, "GET", "/v1/usage?tenant=chem", NULL, 404, "unknown_tenant");
	expect_error("/nobody:lease", "GET", "/v1/usage", NULL, 403, "no_tenant");
	expect_error(DANA, "GET", "/v1/usage?by=colour", NULL, 400, "invalid_parameter");
	expect_error(DANA, "GET", "/v1/usage?since=yesterday", NULL, 400, "invalid_time");
	atomic_store(&fake_store.broken, true);
	expect(DANA, "GET", "/v1/usage?by=day", NULL, 503, "the disk is gone");
	atomic_store(&fake_store.broken, false);
	struct answer a = door_call(DANA, "GET", "/v1/usage/requests?limit=2", NULL);
	tap_ok(json_array_size(a.json) == 2 && strstr(a.body, "\"cost\":\"0.000054\"") && strstr(a.body, "\"flags\":[\"stream\",\"estimated\"]") &&
	               strstr(a.body, "\"door\":\"xxxxxxxxxxxxxxxx\""),
	       "requests, two of them: %s", a.body);
	answer_free(&a);
	/* One that leaves while the store works. */
	atomic_store(&fake_store.slow, true);
	close(door_connect(DANA, "GET", "/v1/usage?by=day"));
	usleep(20000);
	atomic_store(&fake_store.slow, false);
	expect(DANA, "GET", "/v1/usage?by=day", NULL, 200, "rows");
}

static void test_limits(void)
{
	struct answer a = door_call(DANA, "GET", "/v1/limits", NULL);
	const json_t *first = json_array_get(a.json, 0), *second = json_array_get(a.json, 1);
	bool any = strstr(a.body, "\"metric\":\"requests\"") && strstr(a.body, "user:physics/dana") && strstr(a.body, "tenant:physics") &&
	           strstr(a.body, "\"max\":\"5.00\"");
	if (!tap_ok(a.status == 200 && first && second && any, "one's own limits"))
		printf("# %s\n", a.body);
	answer_free(&a);
	expect_error(DANA, "GET", "/v1/limits?tenant=chem", NULL, 404, "unknown_tenant");
	expect_error(DANA, "GET", "/v1/limits?key=slk_x", NULL, 404, "unknown_key");
	expect(OPERATOR, "GET", "/v1/limits?tenant=physics", NULL, 200, "tenant:physics");
}

static void test_operating(void)
{
	expect(OPERATOR, "POST", "/v1/reload", NULL, 200, "{\"config\":\"abcd1234\",\"warnings\":[\"sluice.lua:3: a warning\"]}");
	atomic_store(&door_reload_code, SL_EINVAL);
	expect(OPERATOR, "POST", "/v1/reload", NULL, 422, "\"findings\":[\"sluice.lua:3: one\",\"sluice.lua:4: tw\xef\xbf\xbd\"]");
	atomic_store(&door_reload_code, SL_OK);
	expect(OPERATOR, "POST", "/v1/drain", "{}", 200, "\"ready\":false");
	expect(NULL, "GET", "/readyz", NULL, 503, NULL);
	expect(OPERATOR, "POST", "/v1/undrain", NULL, 200, "\"ready\":true");
	expect(OPERATOR, "GET", "/v1/plugins", NULL, 200, "fake");
	expect(OPERATOR, "GET", "/v1/config", NULL, 200, "\"currency\":\"EUR\"");
	expect(OPERATOR, "GET", "/v1/ledger", NULL, 200, "\"accepting\":true");
	expect(OPERATOR, "POST", "/v1/policy/eval", "{\"tenant\":\"physics\",\"tier\":\"free\",\"model\":\"tiny\"}", 200, "\"admit\"");
	expect_error(OPERATOR, "POST", "/v1/policy/eval", "nonsense", 400, "invalid_json");
}

static void test_status(void)
{
	struct answer a = door_call(DANA, "GET", "/v1/status", NULL);
	static const char *const parts[] = { "\"version\":", "\"config\":", "\"ready\":true", "\"durability\":", "\"gpus\":{\"total\":2",
		                             "\"longest_wait_s\":5", "\"models\":{\"ready\":1,\"starting\":0,\"none\":0,\"failed\":1}",
		                             "\"today\":{\"requests\":2", "\"door\":\"http://127.0.0.1:8080\"", "\"workers\":2",
		                             "node1/gpu1 is faulty: Xid 79", "model big cannot be started: no weights" };
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!tap_ok(strstr(a.body, parts[i]), "status has %s", parts[i]))
			printf("# %s\n", a.body);
	answer_free(&a);
	atomic_store(&fake_store.slow, true);
	expect(OPERATOR, "GET", "/v1/status", NULL, 200, "\"today\":null");
	atomic_store(&fake_store.slow, false);
	expect("/nobody:lease", "GET", "/v1/status", NULL, 200, "\"today\":null");
}

int main(void)
{
	if (!tap_ok(door_open() == 0, "the door opens"))
		return tap_done();
	test_open_paths();
	test_tcp();
	test_who();
	test_lease_lists();
	test_one_lease();
	test_new_lease();
	test_one_name_of_two_leases();
	test_drained();
	test_stream();
	test_stream_of_a_client_that_leaves();
	test_stream_of_a_client_that_does_not_read();
	test_devices_and_models();
	test_tenants();
	test_keys();
	test_usage();
	test_limits();
	test_operating();
	test_status();
	/* Closing while a stream and a question are out. */
	int stream = door_connect(DANA, "GET", "/v1/gpu/leases/L7/stream");
	atomic_store(&fake_store.slow, true);
	int question = door_connect(DANA, "GET", "/v1/usage?by=day");
	usleep(20000);
	door_close();
	tap_ok(true, "the door closes");
	close(stream);
	close(question);
	return tap_done();
}
