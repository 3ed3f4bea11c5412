/* SPDX-License-Identifier: Apache-2.0 */
/* test_server.c - the server over real sockets: this thread is the client and speaks raw bytes, another runs the
 * loop. Plain TAP, since there are threads. */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/http/client.h"
#include "core/http/server.h"
#include "tests/unit/tap.h"

enum { WAIT_MS = 10000, BIG = 8 * 1024 * 1024 };

struct fixture {
	uv_loop_t loop;
	uv_async_t wake;
	pthread_t thread;
	struct http_server *server;
	struct http_address address;
	struct http_exchange *held; /* of /hold: answered by /release */
	atomic_int closes, gone, requests, done;
	_Atomic(int) command; /* 1: close with grace, 2: close at once, 3: answer the held exchange */
	_Atomic(uint32_t) uid;
	_Atomic(int32_t) pid;
};
static struct fixture f;

static void on_close(struct http_exchange *x, bool gone)
{
	atomic_fetch_add(&f.closes, 1);
	if (!gone)
		return;
	if (f.held == x)
		f.held = NULL;
	atomic_fetch_add(&f.gone, 1);
}

static void stream(struct http_exchange *x)
{
	char data[32];
	http_respond_begin(x, 200, "text/event-stream");
	for (int i = 0; i < 3; i++) {
		int n = snprintf(data, sizeof data, "data: %d\n\n", i);
		http_respond_chunk(x, (sl_str){ data, (size_t) n });
	}
	http_respond_end(x);
}

/* Chunks until the client counts as too slow. */
static void flood(struct http_exchange *x)
{
	static char data[64 * 1024];
	int n = 0;
	http_respond_begin(x, 200, "text/plain");
	while (n < 4096 && http_respond_chunk(x, (sl_str){ data, sizeof data }))
		n++;
	http_respond_end(x);
}

/* The same by one who does not want to be told. */
static void flood_untold(struct http_exchange *x)
{
	x->on_close = NULL;
	flood(x);
}

static void big(struct http_exchange *x)
{
	char *data = malloc(BIG);
	memset(data, 'b', BIG);
	http_respond(x, 200, "text/plain", (sl_str){ data, BIG });
	free(data);
}

static void handler(void *arg, struct http_exchange *x)
{
	(void) arg;
	sl_str path = x->head->path;
	atomic_fetch_add(&f.requests, 1);
	f.uid = x->has_peercred ? x->peer_uid : UINT32_MAX;
	f.pid = x->has_peercred ? x->peer_pid : -1;
	x->on_close = on_close;
	if (str_eq(path, STR("/echo"))) {
		http_respond_header(x, "X-Method", x->head->method);
		http_respond(x, 200, "text/plain", x->body);
	} else if (str_eq(path, STR("/stream"))) {
		stream(x);
	} else if (str_eq(path, STR("/big"))) {
		big(x);
	} else if (str_eq(path, STR("/flood"))) {
		flood(x);
	} else if (str_eq(path, STR("/flood-untold"))) {
		flood_untold(x);
	} else if (str_eq(path, STR("/hold"))) {
		f.held = x;
	} else if (str_eq(path, STR("/nothing"))) {
		http_respond(x, 204, NULL, STR(""));
	} else if (str_eq(path, STR("/silent"))) {
		http_respond_end(x);
	} else {
		http_respond_error(x, 404, "not_found", "There is \"nothing\" here.");
	}
}

static void on_done(void *arg)
{
	(void) arg;
	atomic_store(&f.done, 1);
	uv_close((uv_handle_t *) &f.wake, NULL);
}

static void on_wake(uv_async_t *wake)
{
	(void) wake;
	int command = atomic_exchange(&f.command, 0);
	if (command == 1 || command == 2)
		http_server_close(f.server, command == 1 ? 5000 : 0, on_done, NULL);
	if (command == 3 && f.held) {
		struct http_exchange *x = f.held;
		f.held = NULL;
		http_respond(x, 200, "text/plain", STR("held"));
	}
}

static void *run_loop(void *arg)
{
	(void) arg;
	uv_run(&f.loop, UV_RUN_DEFAULT);
	return NULL;
}

static void command(int number)
{
	atomic_store(&f.command, number);
	uv_async_send(&f.wake);
}

static bool start(const char *listen, const struct http_server_options *options)
{
	sl_error error = { 0 };
	memset(&f, 0, sizeof f);
	if (http_address_parse(str_of(listen), &f.address, &error) != SL_OK)
		return tap_ok(false, "%s", error.text);
	uv_loop_init(&f.loop);
	uv_async_init(&f.loop, &f.wake, on_wake);
	f.server = http_server_open(&f.loop, &f.address, 0600, options, handler, NULL, &error);
	if (!f.server)
		return tap_ok(false, "%s", error.text);
	if (f.address.any.sa_family == AF_INET)
		f.address.v4.sin_port = htons((uint16_t) http_server_port(f.server));
	pthread_create(&f.thread, NULL, run_loop, NULL);
	return true;
}

static void stop(int how)
{
	command(how);
	pthread_join(f.thread, NULL);
	tap_ok(atomic_load(&f.done) == 1 && uv_loop_close(&f.loop) == 0, "the server ended and left nothing open");
}

static int dial(void)
{
	int fd = socket(f.address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &f.address.any, f.address.len) != 0) {
		tap_ok(false, "connect: %s", strerror(errno));
		exit(1);
	}
	return fd;
}

static bool put(int fd, sl_str data)
{
	while (data.len) {
		ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		data = (sl_str){ data.ptr + n, data.len - (size_t) n };
	}
	return true;
}

/* Reads until `until` is in what came, or to the end when it is NULL. */
static bool get(int fd, struct buf *in, const char *until)
{
	for (;;) {
		if (until && in->len && memmem(in->data, in->len, until, strlen(until)))
			return true;
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, WAIT_MS) <= 0 || !buf_reserve(in, 65536))
			return false;
		ssize_t n = recv(fd, in->data + in->len, 65536, 0);
		if (n <= 0)
			return !until && n == 0;
		in->len += (size_t) n;
	}
}

static bool has(const struct buf *in, const char *text)
{
	return in->len && memmem(in->data, in->len, text, strlen(text));
}

static unsigned count(const struct buf *in, const char *text)
{
	unsigned n = 0;
	const char *p = in->data, *end = in->data + in->len;
	while (p && (p = memmem(p, (size_t) (end - p), text, strlen(text)))) {
		n++;
		p += strlen(text);
	}
	return n;
}

/* Sends a request and reads to the end of the connection. */
static void talk(sl_str request, struct buf *in)
{
	int fd = dial();
	buf_clear(in);
	put(fd, request);
	get(fd, in, NULL);
	close(fd);
}

static bool eventually(atomic_int *value, int wanted)
{
	for (int i = 0; i < WAIT_MS / 5 && atomic_load(value) < wanted; i++)
		usleep(5000);
	return atomic_load(value) >= wanted;
}

#define HOST "Host: a\r\n"
#define CLOSE HOST "Connection: close\r\n"

static void test_answers(void)
{
	static const struct { const char *name, *request, *status, *text; } cases[] = {
		{ "body", "POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 5\r\n\r\nhello", "200 OK", "\r\n\r\nhello" },
		{ "own header", "PUT /echo HTTP/1.1\r\n" CLOSE "\r\n", "200 OK", "X-Method: PUT\r\n" },
		{ "chunked request", "POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x\r\nlo\r\n0\r\nA: b\r\n\r\n",
		  "200 OK", "\r\n\r\nhello" },
		{ "empty chunked request", "POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200 OK",
		  "Content-Length: 0\r\n" },
		{ "chunked answer", "GET /stream HTTP/1.1\r\n" CLOSE "\r\n", "200 OK", "9\r\ndata: 0\n\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n" },
		{ "stream in 1.0", "GET /stream HTTP/1.0\r\n\r\n", "200 OK", "\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n" },
		{ "HEAD", "HEAD /x HTTP/1.1\r\n" CLOSE "\r\n", "404 Not Found", "Content-Length: " },
		{ "204", "GET /nothing HTTP/1.1\r\n" CLOSE "\r\n", "204 No Content", "\r\n\r\n" },
		{ "error", "GET /x HTTP/1.1\r\n" CLOSE "\r\n", "404 Not Found",
		  "{\"error\":{\"message\":\"There is \\\"nothing\\\" here.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"not_found\"}}" },
		{ "bad request", "GET /echo\r\n\r\n", "400 Bad Request", "\"code\":\"invalid_request_line\"" },
		{ "no host", "GET /echo HTTP/1.1\r\n\r\n", "400 Bad Request", "\"code\":\"invalid_host\"" },
		{ "two framings", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 Bad Request",
		  "\"code\":\"invalid_framing\"" },
		{ "bad chunk", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400 Bad Request", "invalid_framing" },
		{ "too large by length", "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n",
		  "413 Content Too Large", "body_too_large" },
		{ "other expectation", "POST /echo HTTP/1.1\r\n" HOST "Expect: x\r\n\r\n", "417 Expectation Failed", "expectation_failed" },
		{ "HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP", "http_version_not_supported" },
		{ "TLS", "\x16\x03\x01\x02", "400 Bad Request", "TLS" },
	};
	struct buf in = { 0 };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		talk(str_of(cases[i].request), &in);
		char status[64];
		snprintf(status, sizeof status, "HTTP/1.1 %s", cases[i].status);
		tap_ok(in.len > 12 && str_starts(buf_str(&in), str_of(status)) && has(&in, cases[i].text), "%s", cases[i].name);
	}
	talk(STR("HEAD /x HTTP/1.1\r\n" CLOSE "\r\n"), &in);
	tap_ok(!has(&in, "error"), "HEAD: no body");
	talk(STR("HEAD /x HTTP/1.1\r\n\r\n"), &in);
	tap_ok(has(&in, "400 Bad Request") && !has(&in, "error"), "HEAD that is refused: no body");
	talk(STR("\r\nHEAD /x HTTP/1.1\r\n" HOST "Content-Length: 100001\r\n\r\n"), &in);
	tap_ok(has(&in, "413 Content Too Large") && !has(&in, "error"), "HEAD that is too large: no body");
	talk(STR("GET /stream HTTP/1.0\r\n\r\n"), &in);
	tap_ok(!has(&in, "chunked"), "HTTP/1.0: no chunks");
	talk(STR("POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n"), &in);
	tap_ok(!has(&in, "100 Continue"), "a refused size gets no 100");
	buf_free(&in);
}

static void test_connections(void)
{
	struct buf in = { 0 };
	int fd = dial();
	put(fd, STR("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na" "GET /stream HTTP/1.1\r\n" HOST "\r\n"
	            "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\nGET /x HTTP/1.1\r\n" CLOSE "\r\n"
	            "GET /echo HTTP/1.1\r\n" HOST "\r\n"));
	tap_ok(get(fd, &in, NULL), "pipelined requests are answered, and the connection ends as asked");
	close(fd);
	char *a = memmem(in.data, in.len, "\r\n\r\na", 5), *two = memmem(in.data, in.len, "data: 2", 7), *b = memmem(in.data, in.len, "\r\n\r\nb", 5),
	     *last = memmem(in.data, in.len, "404", 3);
	tap_ok(a && two && b && last && a < two && two < b && b < last && count(&in, "HTTP/1.1 ") == 4, "in their order, none behind the last");

	buf_clear(&in);
	fd = dial();
	put(fd, STR("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\naBAD\r\n\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n"));
	get(fd, &in, NULL);
	close(fd);
	tap_ok(has(&in, "\r\n\r\na") && has(&in, "400 Bad Request") && count(&in, "HTTP/1.1 ") == 2,
	       "a bad second request does not harm the first, and nothing behind it is read");

	buf_clear(&in);
	fd = dial();
	sl_str text = STR("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
	for (size_t i = 0; i < text.len; i++)
		put(fd, (sl_str){ text.ptr + i, 1 });
	tap_ok(get(fd, &in, "\r\n\r\nhello"), "byte by byte");
	put(fd, STR("POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 5\r\n\r\nagain"));
	tap_ok(get(fd, &in, NULL) && has(&in, "again"), "the same connection again");
	close(fd);

	buf_clear(&in);
	fd = dial();
	put(fd, STR("POST /echo HTTP/1.1\r\n" CLOSE "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
	tap_ok(get(fd, &in, "100 Continue\r\n\r\n"), "100 Continue");
	put(fd, STR("hello"));
	tap_ok(get(fd, &in, NULL) && has(&in, "\r\n\r\nhello"), "and the answer behind it");
	close(fd);

	buf_clear(&in);
	fd = dial();
	put(fd, STR("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\naPOST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nb"));
	shutdown(fd, SHUT_WR);
	tap_ok(get(fd, &in, NULL) && has(&in, "\r\n\r\na") && has(&in, "\r\n\r\nb"), "a client that closed only its side is answered");
	close(fd);
	buf_free(&in);
}

/* Does the answer end in BIG times the letter b? */
static bool ends_with_bs(const struct buf *in)
{
	size_t n = 0;
	while (n < in->len && in->data[in->len - 1 - n] == 'b')
		n++;
	return n == BIG;
}

static void test_sizes(void)
{
	struct buf in = { 0 }, out = { 0 };
	int fd = dial();
	buf_puts(&out, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 20; i++)
		buf_printf(&out, "1388\r\n%05000d\r\n", 0);
	size_t fits = out.len;
	buf_puts(&out, "0\r\n\r\n");
	put(fd, buf_str(&out));
	tap_ok(get(fd, &in, "Content-Length: 100000\r\n"), "a chunked body of exactly the bound");
	close(fd);
	out.len = fits;
	buf_puts(&out, "1\r\nx\r\n0\r\n\r\n");
	talk(buf_str(&out), &in);
	tap_ok(has(&in, "413 Content Too Large"), "one byte more is 413 at the crossing");

	fd = dial();
	buf_clear(&in);
	put(fd, STR("GET /big HTTP/1.1\r\n" CLOSE "\r\n"));
	usleep(50000);
	tap_ok(get(fd, &in, NULL) && ends_with_bs(&in), "a large answer to a client that reads late");
	close(fd);

	int before = atomic_load(&f.gone);
	fd = dial();
	put(fd, STR("GET /flood HTTP/1.1\r\n" HOST "\r\n"));
	tap_ok(eventually(&f.gone, before + 1), "a stream that nobody reads is cut at the bound of its writes");
	close(fd);
	fd = dial();
	put(fd, STR("GET /flood-untold HTTP/1.1\r\n" HOST "\r\n"));
	usleep(50000);
	while (recv(fd, out.data, out.room, 0) > 0)
		;
	tap_ok(atomic_load(&f.gone) == before + 1, "and so is one whose handler is not to be told");
	close(fd);
	buf_free(&in);
	buf_free(&out);
}

static void test_held(bool is_unix)
{
	struct buf in = { 0 };
	int closes = atomic_load(&f.closes), gone = atomic_load(&f.gone), requests = atomic_load(&f.requests);
	int fd = dial();
	put(fd, STR("GET /hold HTTP/1.1\r\n" HOST "\r\nGET /x HTTP/1.1\r\n" CLOSE "\r\n"));
	eventually(&f.requests, requests + 1);
	command(3);
	tap_ok(get(fd, &in, NULL) && has(&in, "\r\n\r\nheld") && has(&in, "404"), "an answer given later, and the next request behind it");
	close(fd);
	tap_ok(eventually(&f.closes, closes + 2) && atomic_load(&f.gone) == gone, "on_close: the client was there to the end");

	requests = atomic_load(&f.requests);
	fd = dial();
	put(fd, STR("GET /hold HTTP/1.1\r\n" HOST "\r\n"));
	eventually(&f.requests, requests + 1);
	struct linger reset = { .l_onoff = 1 };
	if (!is_unix)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(fd);
	tap_ok(eventually(&f.gone, gone + 1), "on_close: the client is gone while it waits");

	talk(STR("GET /silent HTTP/1.1\r\n" HOST "\r\n"), &in);
	tap_ok(in.len == 0, "an exchange that ends without an answer ends the connection");
	buf_free(&in);
}

static void test_timeouts(void)
{
	struct buf in = { 0 };
	talk(STR("GET /echo HTTP/1.1\r\nHos"), &in);
	tap_ok(has(&in, "408 Request Timeout") && has(&in, "request_timeout"), "a head that does not come is 408");
	talk(STR("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel"), &in);
	tap_ok(has(&in, "408 Request Timeout"), "a body that does not come is 408");
	talk(STR(""), &in);
	tap_ok(in.len == 0, "an idle connection is closed without words");
	int fd = dial();
	buf_clear(&in);
	sl_str slow = STR("GET /echo HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	for (size_t i = 0; i < slow.len && put(fd, (sl_str){ slow.ptr + i, 1 }); i++)
		usleep(10000);
	get(fd, &in, NULL);
	tap_ok(has(&in, "408"), "the deadline is for all of it, not for each byte");
	close(fd);
	buf_free(&in);
}

static void test_crowd(void)
{
	enum { MAX = 4 };
	int fds[MAX];
	struct buf in = { 0 };
	for (int i = 0; i < MAX; i++) {
		fds[i] = dial();
		buf_clear(&in);
		put(fds[i], STR("GET /x HTTP/1.1\r\n" HOST "\r\n"));
		get(fds[i], &in, "}}");
	}
	talk(STR("GET /x HTTP/1.1\r\n" HOST "\r\n"), &in);
	tap_ok(has(&in, "503 Service Unavailable") && has(&in, "overloaded"), "one connection above the bound gets words and a close");
	for (int i = 0; i < MAX; i++) {
		buf_clear(&in);
		put(fds[i], STR("GET /x HTTP/1.1\r\n" CLOSE "\r\n"));
		tap_ok(get(fds[i], &in, NULL) && has(&in, "404"), "the others go on");
		close(fds[i]);
	}
	buf_free(&in);
}

static void test_drain(void)
{
	struct buf in = { 0 };
	int idle = dial(), busy = dial();
	put(busy, STR("GET /hold HTTP/1.1\r\n" HOST "\r\n"));
	eventually(&f.requests, 1);
	command(1);
	tap_ok(get(idle, &in, NULL) && in.len == 0, "an idle connection ends at once");
	command(3);
	tap_ok(get(busy, &in, NULL) && has(&in, "held") && has(&in, "Connection: close"), "a busy one after its answer");
	close(idle);
	close(busy);
	pthread_join(f.thread, NULL);
	tap_ok(atomic_load(&f.done) == 1 && uv_loop_close(&f.loop) == 0, "then the server has ended");
	buf_free(&in);
}

static void test_unix(void)
{
	char folder[] = "/tmp/sluice-test-XXXXXX", listen[80], path[64];
	struct stat st;
	sl_error error = { 0 };
	struct buf in = { 0 };
	if (!mkdtemp(folder)) {
		tap_ok(false, "mkdtemp: %s", strerror(errno));
		return;
	}
	snprintf(path, sizeof path, "%s/x.sock", folder);
	snprintf(listen, sizeof listen, "unix:%s", path);
	/* A stale file: bound, and nobody listens. */
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	str_copy(un.sun_path, sizeof un.sun_path, str_of(path));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	tap_ok(bind(fd, (struct sockaddr *) &un, sizeof un) == 0, "a stale socket");
	close(fd);
	if (!start(listen, NULL))
		return;
	tap_ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "it was replaced and has its mode");
	talk(STR("GET /x HTTP/1.1\r\n" CLOSE "\r\n"), &in);
	tap_ok(has(&in, "404") && f.uid == getuid() && f.pid == getpid(), "the kernel says who calls");
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct http_server *second = http_server_open(&loop, &f.address, 0600, NULL, handler, NULL, &error);
	tap_ok(!second && error.code == SL_ECONFLICT && strstr(error.text, "listens"), "a second server is refused: %s", error.text);
	uv_run(&loop, UV_RUN_DEFAULT);
	tap_ok(uv_loop_close(&loop) == 0, "and leaves nothing");
	talk(STR("GET /x HTTP/1.1\r\n" CLOSE "\r\n"), &in);
	tap_ok(has(&in, "404"), "the first is not disturbed");
	test_held(true);
	stop(2);
	tap_ok(stat(path, &st) != 0, "the file goes with the server");
	FILE *file = fopen(path, "w");
	if (file)
		fclose(file);
	uv_loop_init(&loop);
	second = http_server_open(&loop, &f.address, 0600, NULL, handler, NULL, &error);
	tap_ok(!second && strstr(error.text, "no socket") && stat(path, &st) == 0, "a file that is no socket is left alone: %s", error.text);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	unlink(path);
	rmdir(folder);
	buf_free(&in);
}

int main(void)
{
	struct http_server_options normal = { .body_max = 100000 }, hasty = { .head_timeout_ms = 200, .idle_timeout_ms = 300 },
	                           small = { .connections_max = 4 };
	if (start("127.0.0.1:0", &normal)) {
		test_answers();
		test_connections();
		test_sizes();
		test_held(false);
		stop(2);
	}
	if (start("127.0.0.1:0", &hasty)) {
		test_timeouts();
		stop(2);
	}
	if (start("127.0.0.1:0", &small)) {
		test_crowd();
		stop(2);
	}
	if (start("127.0.0.1:0", NULL))
		test_drain();
	test_unix();
	return tap_done();
}
