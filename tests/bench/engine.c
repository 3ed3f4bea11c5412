/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c - a fast engine for races: answers chat completions at once, or as streams of events with a gap. It does
 * nothing else, so that what is measured in front of it is the proxy. One thread.
 *
 *   engine ADDRESS [events] [gap_us] [event_bytes]     ADDRESS: port on 127.0.0.1, or a path of a Unix socket */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 65536, READ = 256 * 1024, BATCH = 16 * 1024 };

struct connection {
	int left;          /* events of the stream still to send; 0: no stream */
	uint64_t next_us;
	size_t need;       /* bytes of the request's body still to come */
	char *head;        /* an unfinished head */
	size_t head_len;
	bool streaming, blocked;
};

static struct connection connections[CONNECTIONS];
static int streams[CONNECTIONS], n_streams;
static int events = 100, gap_us = 50000, event_bytes = 200;
static char event[8192], plain[1024], last[1024];
static size_t event_len, plain_len, last_len;
static const char stream_head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static void prepare(void)
{
	char data[4096];
	int n = snprintf(data, sizeof data,
		"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":"
		"[{\"index\":0,\"delta\":{\"content\":\"");
	while (n < event_bytes - 42)
		data[n++] = 'x';
	n += snprintf(data + n, sizeof data - (size_t) n, "\"},\"finish_reason\":null}]}\n\n");
	event_len = (size_t) snprintf(event, sizeof event, "%x\r\n%.*s\r\n", n, n, data);
	static const char finish[] = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":"
		"[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
		"data: {\"id\":\"chatcmpl-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":100,"
		"\"total_tokens\":110}}\n\ndata: [DONE]\n\n";
	last_len = (size_t) snprintf(last, sizeof last, "%zx\r\n%s\r\n0\r\n\r\n", sizeof finish - 1, finish);
	static const char body[] = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":"
		"[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello! How can I help you today?\"},"
		"\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":9,\"total_tokens\":19}}";
	plain_len = (size_t) snprintf(plain, sizeof plain,
		"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", sizeof body - 1, body);
}

static void close_connection(int fd)
{
	free(connections[fd].head);
	connections[fd] = (struct connection){ 0 };
	close(fd);
}

static void start_stream(int fd, uint64_t now)
{
	struct connection *c = &connections[fd];
	if (c->streaming || n_streams == CONNECTIONS) /* one at a time */
		return;
	if (send(fd, stream_head, sizeof stream_head - 1, MSG_NOSIGNAL) < 0)
		return;
	c->left = events;
	c->streaming = true;
	/* Spread over the gap, as the streams of real users are. */
	c->next_us = now + (gap_us ? (uint64_t) rand() % (uint64_t) gap_us : 0);
	streams[n_streams++] = fd;
}

static void answer(int fd, bool stream, uint64_t now)
{
	if (stream)
		start_stream(fd, now);
	else if (send(fd, plain, plain_len, MSG_NOSIGNAL) < 0)
		return;
}

/* Sends what is due. False: the stream is over. */
static bool feed(int fd, uint64_t now)
{
	struct connection *c = &connections[fd];
	if (!c->streaming)
		return false;
	if (gap_us == 0) {
		static char batch[BATCH + 8192];
		size_t n = 0;
		int k = 0;
		while (k < c->left && n + event_len <= BATCH) {
			memcpy(batch + n, event, event_len);
			n += event_len;
			k++;
		}
		ssize_t sent = k ? send(fd, batch, n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
		if (sent < 0 && errno == EAGAIN)
			return true;
		if (sent >= 0 && (size_t) sent < n) { /* whole events only: the rest of the cut one goes out blocking */
			size_t done = (size_t) sent / event_len, part = (size_t) sent % event_len;
			if (part) {
				for (size_t at = done * event_len + part; at < (done + 1) * event_len;) {
					ssize_t more = send(fd, batch + at, (done + 1) * event_len - at, MSG_NOSIGNAL);
					if (more <= 0)
						return false;
					at += (size_t) more;
				}
				done++;
			}
			k = (int) done;
		}
		if (sent < 0)
			return false;
		c->left -= k;
	} else if (now >= c->next_us && c->left > 0) {
		if (send(fd, event, event_len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
			return false;
		c->left--;
		c->next_us += (uint64_t) gap_us;
	}
	if (c->left > 0)
		return true;
	c->streaming = false;
	ssize_t n = send(fd, last, last_len, MSG_NOSIGNAL);
	(void) n;
	return false;
}

static void on_request(int fd, char *data, size_t len)
{
	struct connection *c = &connections[fd];
	if (c->need) {
		c->need = len < c->need ? c->need - len : 0;
		if (!c->need)
			answer(fd, c->blocked, now_us());
		return;
	}
	if (c->head) {
		c->head = realloc(c->head, c->head_len + len + 1);
		memcpy(c->head + c->head_len, data, len);
		data = c->head;
		len = c->head_len += len;
	}
	data[len] = '\0';
	char *end = strstr(data, "\r\n\r\n");
	if (!end) {
		if (!c->head) {
			c->head = malloc(len + 1);
			memcpy(c->head, data, len);
			c->head_len = len;
		}
		return;
	}
	char *length = strcasestr(data, "content-length:");
	size_t body = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
	size_t have = len - (size_t) (end + 4 - data);
	bool stream = memmem(end, len - (size_t) (end - data), "\"stream\":true", 13) != NULL;
	if (have < body) {
		c->need = body - have;
		c->blocked = stream; /* kept until the body is there */
	} else {
		answer(fd, stream, now_us());
	}
	free(c->head);
	c->head = NULL;
	c->head_len = 0;
}

static int listen_on(const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(address)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	bool path = strchr(address, '/') != NULL;
	int on = 1, fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (path) {
		snprintf(un.sun_path, sizeof un.sun_path, "%s", address);
		unlink(address);
	}
	mode_t mask = umask(0); /* a proxy may run as another user */
	if (bind(fd, path ? (void *) &un : (void *) &in, path ? sizeof un : sizeof in) != 0 || listen(fd, 4096) != 0) {
		perror(address);
		exit(1);
	}
	umask(mask);
	return fd;
}

int main(int argc, char **argv)
{
	static char buffer[READ + 1];
	if (argc < 2) {
		fprintf(stderr, "usage: engine PORT|PATH [events] [gap_us] [event_bytes]\n");
		return 2;
	}
	events = argc > 2 ? atoi(argv[2]) : events;
	gap_us = argc > 3 ? atoi(argv[3]) : gap_us;
	event_bytes = argc > 4 ? atoi(argv[4]) : event_bytes;
	signal(SIGPIPE, SIG_IGN);
	prepare();
	int listener = listen_on(argv[1]), epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN, .data.fd = listener }, ready[512];
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
	for (;;) {
		int wait = n_streams == 0 ? -1 : gap_us == 0 ? 0 : 1;
		int n = epoll_wait(epoll, ready, 512, wait);
		for (int i = 0; i < n; i++) {
			int fd = ready[i].data.fd;
			if (fd == listener) {
				int on = 1, client;
				while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
					setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
					e = (struct epoll_event){ .events = EPOLLIN, .data.fd = client };
					if (client >= CONNECTIONS || epoll_ctl(epoll, EPOLL_CTL_ADD, client, &e) != 0)
						close(client);
				}
				continue;
			}
			ssize_t got = recv(fd, buffer, READ, 0);
			if (got > 0)
				on_request(fd, buffer, (size_t) got);
			else if (got == 0 || errno != EAGAIN)
				close_connection(fd);
		}
		uint64_t now = now_us();
		for (int i = 0; i < n_streams;) {
			if (feed(streams[i], now))
				i++;
			else
				streams[i] = streams[--n_streams];
		}
	}
}
