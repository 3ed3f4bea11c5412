/* SPDX-License-Identifier: Apache-2.0 */
/* test_client.c - single requests against an engine that misbehaves: a thread that says prepared bytes. */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/http/client.h"
#include "tests/unit/tap.h"

/* What the engine says once it has a request: `silent` says nothing and waits for the client to leave. */
struct engine {
	sl_str answer;
	size_t zeros;  /* bytes behind the answer */
	bool silent;
	bool by_byte;
	int fd;
	struct buf request;
	pthread_t thread;
};

struct result {
	int calls, status;
	struct buf body;
	char why[128];
};

static bool say(int fd, const char *data, size_t len)
{
	return len == 0 || send(fd, data, len, MSG_NOSIGNAL) == (ssize_t) len;
}

static bool request_is_whole(const struct buf *request)
{
	const char *end = request->len ? memmem(request->data, request->len, "\r\n\r\n", 4) : NULL;
	if (!end)
		return false;
	return !memmem(request->data, request->len, "Content-Length: 5", 17) || end + 9 == request->data + request->len;
}

static void *run_engine(void *arg)
{
	static const char zeros[4096];
	struct engine *engine = arg;
	int fd = accept(engine->fd, NULL, NULL);
	while (!request_is_whole(&engine->request) && buf_reserve(&engine->request, 4096)) {
		ssize_t n = recv(fd, engine->request.data + engine->request.len, 4096, 0);
		if (n <= 0)
			break;
		engine->request.len += (size_t) n;
	}
	if (engine->silent) {
		char byte;
		recv(fd, &byte, 1, 0);
	}
	size_t step = engine->by_byte ? 1 : engine->answer.len;
	for (size_t at = 0; at < engine->answer.len; at += step)
		say(fd, engine->answer.ptr + at, step);
	for (size_t at = 0; at < engine->zeros && say(fd, zeros, sizeof zeros); at += sizeof zeros)
		;
	close(fd);
	return NULL;
}

static void on_done(void *arg, int status, sl_str body, const char *why)
{
	struct result *result = arg;
	result->calls++;
	result->status = status;
	buf_put(&result->body, body.ptr, body.len);
	snprintf(result->why, sizeof result->why, "%s", why ? why : "");
}

static void listen_on(struct engine *engine, struct http_address *address)
{
	socklen_t len = sizeof address->v4;
	engine->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	http_address_parse(STR("http://127.0.0.1:0/base/"), address, NULL);
	if (bind(engine->fd, &address->any, address->len) != 0 || listen(engine->fd, 1) != 0 ||
	    getsockname(engine->fd, &address->any, &len) != 0) {
		tap_ok(false, "listen: %s", strerror(errno));
		exit(1);
	}
}

static void ask(struct engine *engine, const char *method, sl_str body, uint64_t timeout_ms, struct result *result)
{
	uv_loop_t loop;
	struct http_address address;
	memset(result, 0, sizeof *result);
	listen_on(engine, &address);
	pthread_create(&engine->thread, NULL, run_engine, engine);
	uv_loop_init(&loop);
	http_client_send(&loop, &address, method, "/health?x", body.ptr ? "text/plain" : NULL, body, timeout_ms, on_done, result);
	tap_ok(result->calls == 0, "done is not called before send returns");
	uv_run(&loop, UV_RUN_DEFAULT);
	pthread_join(engine->thread, NULL);
	close(engine->fd);
	tap_ok(result->calls == 1 && uv_loop_close(&loop) == 0, "done is called once and nothing is left open");
}

static void test_answers(void)
{
	static const struct { const char *name, *method, *answer; int status; const char *body; } cases[] = {
		{ "length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello" },
		{ "more than its length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello world", 200, "hello" },
		{ "no body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "" },
		{ "chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, "hello" },
		{ "to the end", "GET", "HTTP/1.0 200 OK\r\n\r\nhello", 200, "hello" },
		{ "interim", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx", 503, "x" },
		{ "HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "" },
		{ "204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "" },
		{ "cut in its head", "GET", "HTTP/1.1 200 OK\r\nContent-Le", 0, "" },
		{ "cut in its body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 0, "" },
		{ "cut in its chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 0, "" },
		{ "bad chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", 0, "" },
		{ "two framings", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "" },
		{ "no HTTP", "GET", "SSH-2.0-OpenSSH_9.2\r\n", 0, "" },
		{ "101", "GET", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 0, "" },
		{ "nothing", "GET", "", 0, "" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (int by_byte = 0; by_byte < 2; by_byte++) {
			struct engine engine = { .answer = str_of(cases[i].answer), .by_byte = by_byte };
			struct result result;
			ask(&engine, cases[i].method, (sl_str){ NULL, 0 }, 20000, &result);
			tap_ok(result.status == cases[i].status && str_eq(buf_str(&result.body), str_of(cases[i].body)) &&
			       (result.status != 0) == (result.why[0] == '\0'), "%s%s: %d %s", cases[i].name, by_byte ? ", byte by byte" : "",
			       result.status, result.why);
			buf_free(&result.body);
			buf_free(&engine.request);
		}
}

static void test_request(void)
{
	struct engine engine = { .answer = STR("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") };
	struct result result;
	ask(&engine, "POST", STR("12345"), 20000, &result);
	buf_put(&engine.request, "", 1);
	tap_ok(strstr(engine.request.data, "POST /base/health?x HTTP/1.1\r\n") == engine.request.data &&
	       strstr(engine.request.data, "\r\nHost: 127.0.0.1:0\r\n") && strstr(engine.request.data, "\r\nContent-Type: text/plain\r\n") &&
	       strstr(engine.request.data, "\r\nConnection: close\r\n") && strstr(engine.request.data, "\r\n\r\n12345"), "the request");
	buf_free(&engine.request);
	buf_free(&result.body);
}

static void test_bounds(void)
{
	struct engine silent = { .silent = true }, large = { .answer = STR("HTTP/1.0 200 OK\r\n\r\n"), .zeros = 5 << 20 },
	              interim = { 0 };
	struct result result;
	ask(&silent, "GET", (sl_str){ NULL, 0 }, 100, &result);
	tap_ok(result.status == 0 && strstr(result.why, "in time"), "an engine that says nothing: %s", result.why);
	buf_free(&silent.request);
	ask(&large, "GET", (sl_str){ NULL, 0 }, 20000, &result);
	tap_ok(result.status == 0 && strstr(result.why, "4 MiB"), "a body above the bound: %s", result.why);
	buf_free(&large.request);
	struct buf many = { 0 };
	for (int i = 0; i < 100; i++)
		buf_puts(&many, "HTTP/1.1 100 Continue\r\n\r\n");
	interim.answer = buf_str(&many);
	ask(&interim, "GET", (sl_str){ NULL, 0 }, 20000, &result);
	tap_ok(result.status == 0 && strstr(result.why, "interim"), "endless interim answers: %s", result.why);
	buf_free(&interim.request);
	buf_free(&many);
}

/* Requests that no engine answers. */
static void send_to(const char *where, const char *path, bool cancel, struct result *result)
{
	uv_loop_t loop;
	struct http_address address;
	sl_error error = { 0 };
	memset(result, 0, sizeof *result);
	tap_ok(http_address_parse(str_of(where), &address, &error) == SL_OK, "%s %s", where, error.text);
	uv_loop_init(&loop);
	struct http_client_request *request = http_client_send(&loop, &address, "GET", path, NULL, (sl_str){ NULL, 0 }, 5000, on_done, result);
	if (cancel)
		http_client_cancel(request);
	uv_run(&loop, UV_RUN_DEFAULT);
	tap_ok(result->calls == !cancel && uv_loop_close(&loop) == 0, "%s: called back %d times", where, result->calls);
}

int main(void)
{
	struct result result;
	test_answers();
	test_request();
	test_bounds();
	send_to("127.0.0.1:1", "/", false, &result);
	tap_ok(result.status == 0 && strstr(result.why, "refused"), "nobody listens: %s", result.why);
	send_to("unix:/nonexistent/x.sock", "/", false, &result);
	tap_ok(result.status == 0 && result.why[0], "no such socket: %s", result.why);
	send_to("127.0.0.1:1", "/a b\r\nX: y", false, &result);
	tap_ok(result.status == 0 && strstr(result.why, "path"), "a path with white space: %s", result.why);
	send_to("127.0.0.1:1", "/", true, &result);
	http_client_cancel(NULL);
	return tap_done();
}
