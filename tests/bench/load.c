/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - clients for races. One thread; prints one line of JSON.
 *
 *   load plain  PORT KEY CONNECTIONS SECONDS BODY_BYTES [RATE]   whole answers, as fast as they come or RATE a second
 *   load stream PORT KEY CONNECTIONS SECONDS BODY_BYTES          open streams, reopened when they end
 *   load idle   PORT KEY CONNECTIONS SECONDS BODY_BYTES          one request each, then silence; a line says when
 *                                                                 all are idle
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 1 << 20, READ = 64 * 1024 };

struct connection {
	int fd;
	uint64_t sent_us, event_us;
	size_t left;        /* of the body; SIZE_MAX: chunked */
	bool busy, in_body;
	char tail[8];       /* last bytes, to find the end of a chunked body in */
	char *head;         /* an unfinished head */
	size_t head_len;
};

static struct connection *list;
static char *request;
static size_t request_len;
static uint32_t samples[SAMPLES], gaps[SAMPLES];
static size_t n_samples, n_gaps;
static uint64_t answers, events, reads, errors, first_error_status;
static bool stream;
static uint16_t port;

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static void make_request(const char *key, size_t body_bytes)
{
	char *body = malloc(body_bytes + 512);
	int n = sprintf(body, "{\"model\":\"m\",\"stream\":%s,\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"",
	                stream ? "true" : "false");
	static const char text[] = "A gateway relays requests to the engine. ";
	while ((size_t) n + 6 < body_bytes) {
		body[n] = text[(size_t) n % (sizeof text - 1)];
		n++;
	}
	n += sprintf(body + n, "\"}]}");
	request = malloc((size_t) n + 1024);
	request_len = (size_t) sprintf(request,
		"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
		"Accept: application/json\r\nUser-Agent: OpenAI/Python 3.54.0\r\nX-Stainless-Lang: python\r\nContent-Length: %d\r\n\r\n%s",
		key, n, body);
	free(body);
}

static bool send_request(struct connection *c)
{
	c->sent_us = now_us();
	c->event_us = 0;
	memset(c->tail, 0, sizeof c->tail);
	c->busy = true;
	c->in_body = false;
	for (size_t at = 0; at < request_len;) {
		ssize_t n = send(c->fd, request + at, request_len - at, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			usleep(100);
			continue;
		}
		if (n <= 0)
			return false;
		at += (size_t) n;
	}
	return true;
}

static bool open_connection(struct connection *c, int epoll)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1;
	free(c->head);
	*c = (struct connection){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *) &to, sizeof to) != 0)
		return false;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	return epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e) == 0;
}

static void sample(uint32_t *into, size_t *n, uint64_t us)
{
	into[(*n)++ % SAMPLES] = us > UINT32_MAX ? UINT32_MAX : (uint32_t) us;
}

static void count_events(struct connection *c, const char *data, size_t len, uint64_t now)
{
	uint64_t before = events;
	for (const char *p = data, *end = data + len; (p = memmem(p, (size_t) (end - p), "data: {", 7)); p += 7)
		events++;
	if (events == before)
		return;
	reads++;
	if (c->event_us)
		sample(gaps, &n_gaps, now - c->event_us);
	c->event_us = now;
}

/* True: the answer is complete. */
static bool take(struct connection *c, char *data, size_t len, uint64_t now)
{
	if (!c->in_body) {
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
			return false;
		}
		if (strncmp(data + 9, "200", 3) != 0) {
			errors++;
			if (!first_error_status)
				first_error_status = (uint64_t) atoi(data + 9);
		}
		char *length = strcasestr(data, "\r\ncontent-length:");
		c->left = length && length < end ? strtoul(length + 17, NULL, 10) : SIZE_MAX;
		c->in_body = true;
		size_t skip = (size_t) (end + 4 - data);
		bool done = take(c, end + 4, len - skip, now);
		free(c->head);
		c->head = NULL;
		c->head_len = 0;
		return done;
	}
	if (c->left != SIZE_MAX) {
		c->left -= len < c->left ? len : c->left;
		return c->left == 0;
	}
	count_events(c, data, len, now);
	size_t keep = len < 7 ? len : 7;
	memmove(c->tail, c->tail + keep, 7 - keep);
	memcpy(c->tail + 7 - keep, data + len - keep, keep);
	return memcmp(c->tail, "\r\n0\r\n\r\n", 7) == 0;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
	return x < y ? -1 : x > y;
}

static uint32_t percentile(uint32_t *from, size_t n, double p)
{
	n = n < SAMPLES ? n : SAMPLES;
	if (n == 0)
		return 0;
	return from[(size_t) (p * (double) (n - 1))];
}

int main(int argc, char **argv)
{
	static char buffer[READ + 1];
	if (argc < 7) {
		fprintf(stderr, "usage: load plain|stream|idle PORT KEY CONNECTIONS SECONDS BODY_BYTES [RATE]\n");
		return 2;
	}
	bool idle = strcmp(argv[1], "idle") == 0;
	stream = strcmp(argv[1], "stream") == 0;
	port = (uint16_t) atoi(argv[2]);
	int n = atoi(argv[4]);
	double seconds = atof(argv[5]), rate = argc > 7 ? atof(argv[7]) : 0;
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	make_request(argv[3], (size_t) atol(argv[6]));
	list = calloc((size_t) n, sizeof *list);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t begin = now_us(), end = begin + (uint64_t) (seconds * 1e6), due = begin;
	for (int i = 0; i < n; i++) {
		if (!open_connection(&list[i], epoll)) {
			fprintf(stderr, "connection %d: %s\n", i, strerror(errno));
			return 1;
		}
		if (!rate && !send_request(&list[i]))
			errors++;
	}
	int turn = 0;
	uint64_t idle_left = idle ? (uint64_t) n : 0;
	struct epoll_event ready[256];
	for (uint64_t now = now_us(); now < end; now = now_us()) {
		while (rate && now >= due) {
			int tried = 0;
			while (list[turn % n].busy && tried++ < n)
				turn++;
			if (!list[turn % n].busy && !send_request(&list[turn % n]))
				errors++;
			turn++;
			due += (uint64_t) (1e6 / rate);
		}
		int k = epoll_wait(epoll, ready, 256, rate ? 0 : 10);
		now = now_us();
		for (int i = 0; i < k; i++) {
			struct connection *c = ready[i].data.ptr;
			ssize_t got = recv(c->fd, buffer, READ, MSG_DONTWAIT);
			if (got < 0 && errno == EAGAIN)
				continue;
			bool gone = got <= 0;
			bool done = !gone && take(c, buffer, (size_t) got, now);
			if (done) {
				answers++;
				c->busy = false;
				sample(samples, &n_samples, now - c->sent_us);
			}
			if (gone) {
				if (c->busy)
					errors++;
				close(c->fd);
				if (!open_connection(c, epoll))
					return 1;
			}
			if (idle && done && --idle_left == 0) {
				printf("idle\n");
				fflush(stdout);
			}
			if ((done || gone) && !rate && !idle && !send_request(c))
				errors++;
		}
	}
	double took = (double) (now_us() - begin) / 1e6;
	qsort(samples, n_samples < SAMPLES ? n_samples : SAMPLES, sizeof *samples, compare);
	qsort(gaps, n_gaps < SAMPLES ? n_gaps : SAMPLES, sizeof *gaps, compare);
	printf("{\"answers\":%llu,\"events\":%llu,\"reads\":%llu,\"errors\":%llu,\"error_status\":%llu,\"seconds\":%.3f,"
	       "\"p50_us\":%u,\"p99_us\":%u,\"gap_p50_us\":%u,\"gap_p99_us\":%u,\"gap_max_us\":%u}\n",
	       (unsigned long long) answers, (unsigned long long) events, (unsigned long long) reads, (unsigned long long) errors,
	       (unsigned long long) first_error_status, took, percentile(samples, n_samples, 0.5), percentile(samples, n_samples, 0.99),
	       percentile(gaps, n_gaps, 0.5), percentile(gaps, n_gaps, 0.99), percentile(gaps, n_gaps, 1));
	return 0;
}
