/* SPDX-License-Identifier: Apache-2.0 */
/* test_frame.c - length-prefixed JSON: bytes in every cut, hostile lengths, connections on a loop. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/loop/frame.h"

struct taken {
	unsigned n;
	json_int_t sum;
	unsigned stop_after; /* 0: never */
};

static bool take(void *arg, json_t *message)
{
	struct taken *t = arg;
	t->n++;
	t->sum += json_integer_value(json_object_get(message, "n"));
	return t->n != t->stop_after;
}

static struct buf three(void)
{
	struct buf b = { 0 };
	for (int i = 1; i <= 3; i++) {
		json_t *m = json_pack("{s:i,s:s}", "n", i, "text", "h\xc3\xa4");
		cr_assert_eq(frame_write(&b, m), SL_OK, "a small object can be written");
		json_decref(m);
	}
	return b;
}

Test(frame, every_cut)
{
	struct buf b = three();
	for (size_t cut = 0; cut <= b.len; cut++) {
		struct frame_reader r = { 0 };
		struct taken t = { 0 };
		cr_assert_eq(frame_read(&r, b.data, cut, take, &t, NULL), SL_OK, "first part of %zu", cut);
		cr_assert_eq(frame_read(&r, b.data + cut, b.len - cut, take, &t, NULL), SL_OK, "the rest after %zu", cut);
		cr_assert_eq(t.n, 3, "cut at %zu: %u messages", cut, t.n);
		cr_assert_eq(t.sum, 6, "cut at %zu: in order, each once", cut);
		frame_reader_free(&r);
	}
	buf_free(&b);
}

Test(frame, stop)
{
	struct buf b = three();
	struct frame_reader r = { 0 };
	struct taken t = { .stop_after = 2 };
	cr_assert_eq(frame_read(&r, b.data, b.len, take, &t, NULL), SL_OK, "stop is no error");
	cr_assert_eq(t.n, 2, "nothing after the stop");
	frame_reader_free(&r);
	buf_free(&b);
}

static int feed(const void *bytes, size_t len, sl_error *error)
{
	struct frame_reader r = { 0 };
	struct taken t = { 0 };
	int rc = frame_read(&r, bytes, len, take, &t, error);
	frame_reader_free(&r);
	return rc;
}

Test(frame, hostile)
{
	sl_error e = { 0 };
	cr_expect_eq(feed("\xff\xff\xff\xff", 4, &e), SL_EINVAL, "a length of 4 GiB");
	cr_expect(strstr(e.text, "4294967295"), "the length is named: %s", e.text);
	cr_expect_eq(feed("\x00\x10\x00\x01", 4, &e), SL_EINVAL, "one byte above the bound, before any of it came");
	cr_expect_eq(feed("\x00\x10\x00\x00", 4, &e), SL_OK, "the bound itself waits for more");
	cr_expect_eq(feed("\x00\x00\x00\x00", 4, &e), SL_EINVAL, "an empty message");
	cr_expect_eq(feed("\x00\x00\x00\x02[]", 6, &e), SL_EINVAL, "an array");
	cr_expect_eq(feed("\x00\x00\x00\x04null", 8, &e), SL_EINVAL, "null");
	cr_expect_eq(feed("\x00\x00\x00\x02\xff\xfe", 6, &e), SL_EINVAL, "no UTF-8");
	cr_expect_eq(feed("\x00\x00\x00\x0d{\"a\":1,\"a\":2}", 17, &e), SL_EINVAL, "a key twice");
	cr_expect_eq(feed("\x00\x00\x00\x04{} x", 8, &e), SL_EINVAL, "something behind the object");
	cr_expect_eq(feed("GET / HTTP/1.1\r\n\r\n", 18, &e), SL_EINVAL, "HTTP");
}

Test(frame, refuses_to_write)
{
	struct buf b = { 0 };
	json_t *array = json_array(), *big = json_object();
	char *text = malloc(FRAME_MAX + 1);
	memset(text, 'x', FRAME_MAX);
	text[FRAME_MAX] = '\0';
	json_object_set_new(big, "text", json_string(text));
	cr_expect_eq(frame_write(&b, array), SL_EINVAL, "an array is no message");
	cr_expect_eq(frame_write(&b, big), SL_EINVAL, "too long");
	cr_expect_eq(b.len, 0, "nothing was written");
	free(text);
	json_decref(array);
	json_decref(big);
	buf_free(&b);
}

Test(frame, blocking)
{
	int fd[2];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	json_t *m = json_pack("{s:i}", "n", 7);
	cr_assert_eq(frame_emit(fd[0], m, NULL), SL_OK, "sent");
	json_decref(m);
	m = frame_recv(fd[1], NULL);
	cr_assert_eq(json_integer_value(json_object_get(m, "n")), 7, "received");
	json_decref(m);
	cr_assert_eq(send(fd[0], "\0\0\0\x09{", 5, 0), 5);
	close(fd[0]);
	sl_error e = { 0 };
	cr_assert_null(frame_recv(fd[1], &e), "half a message");
	cr_expect_eq(e.code, SL_EIO, "is an end, not bad bytes");
	m = json_object();
	cr_expect_eq(frame_emit(fd[1], m, &e), SL_EIO, "nobody is there, and no SIGPIPE");
	json_decref(m);
	close(fd[1]);
}

struct side {
	struct frame_connection *c;
	unsigned messages, closed, drained;
	int close_code;
	bool echo, hang_up;
};

static void on_message(void *arg, struct frame_connection *c, json_t *message)
{
	struct side *s = arg;
	s->messages++;
	if (s->echo)
		cr_expect_eq(frame_send(c, message), SL_OK, "echo");
	if (s->hang_up) {
		frame_close(c);
		s->c = NULL;
	}
}

static void on_closed(void *arg, struct frame_connection *c, const sl_error *why)
{
	struct side *s = arg;
	(void) c;
	s->closed++;
	s->close_code = why->code;
	s->c = NULL;
}

static void on_drained(void *arg, struct frame_connection *c)
{
	(void) c;
	((struct side *) arg)->drained++;
}

static const struct frame_events events = { .message = on_message, .closed = on_closed, .drained = on_drained };

static void pair(uv_loop_t *loop, struct side *a, struct side *b)
{
	int fd[2];
	cr_assert_eq(uv_loop_init(loop), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	a->c = frame_adopt(loop, fd[0], &events, a, NULL);
	b->c = frame_adopt(loop, fd[1], &events, b, NULL);
	cr_assert(a->c && b->c, "both ends");
}

Test(connection, talks_and_lingers)
{
	uv_loop_t loop;
	struct side a = { 0 }, b = { .echo = true, .hang_up = true };
	pair(&loop, &a, &b);
	json_t *m = json_object();
	char *text = malloc(700001);
	memset(text, 'y', 700000);
	text[700000] = '\0';
	json_object_set_new(m, "text", json_string(text));
	free(text);
	cr_assert_eq(frame_send(a.c, m), SL_OK);
	json_decref(m);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(b.messages, 1, "the request came");
	cr_expect_eq(a.messages, 1, "the answer came although its sender had closed");
	cr_expect_eq(a.closed, 1, "then the end");
	cr_expect_eq(a.drained, 1, "the request was reported as sent");
	cr_expect_eq(b.closed, 0, "who closed is not told");
	cr_assert_eq(uv_loop_close(&loop), 0, "no handle is left");
}

Test(connection, bad_bytes_end_it)
{
	uv_loop_t loop;
	int fd[2];
	struct side a = { 0 };
	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	a.c = frame_adopt(&loop, fd[0], &events, &a, NULL);
	cr_assert_eq(send(fd[1], "GET / HTTP/1.1\r\n", 16, 0), 16);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(a.closed, 1, "closed once");
	cr_expect_eq(a.close_code, SL_EINVAL, "with the reason");
	close(fd[1]);
	cr_assert_eq(uv_loop_close(&loop), 0, "no handle is left");
}

Test(connection, queue_is_bounded)
{
	uv_loop_t loop;
	int fd[2];
	struct side a = { 0 };
	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	a.c = frame_adopt(&loop, fd[0], &events, &a, NULL);
	json_t *m = json_object();
	char *text = malloc(1000001);
	memset(text, 'z', 1000000);
	text[1000000] = '\0';
	json_object_set_new(m, "text", json_string(text));
	free(text);
	int rc = SL_OK;
	unsigned n = 0;
	while (rc == SL_OK && n < 100) {
		rc = frame_send(a.c, m);
		n++;
	}
	json_decref(m);
	cr_expect_eq(rc, SL_EFULL, "a side that does not read does not cost memory without end");
	cr_expect_leq(frame_queued(a.c), FRAME_QUEUE_MAX, "within the bound");
	close(fd[1]);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(a.closed, 1, "the end is told once");
	cr_assert_eq(uv_loop_close(&loop), 0, "no handle is left");
}

Test(connection, nobody_listens)
{
	uv_loop_t loop;
	struct side a = { 0 };
	sl_error e = { 0 };
	char path[200];
	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_expect_null(frame_connect(&loop, "/nonexistent/agent.sock", &events, &a, &e), "no such socket");
	cr_expect_eq(e.code, SL_EUNAVAILABLE);
	cr_expect(strstr(e.text, "/nonexistent/agent.sock"), "the path is named: %s", e.text);
	memset(path, 'p', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	cr_expect_null(frame_connect(&loop, path, &events, &a, &e), "a path longer than a socket's");
	cr_expect_eq(e.code, SL_EINVAL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "no handle is left");
}
