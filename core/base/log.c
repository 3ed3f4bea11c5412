/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line a message on standard error. */
#include "core/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/clock.h"

static const char *log_name = "sluice";
static enum sl_log_level log_level = SL_LOG_INFO;

void log_setup(const char *name, enum sl_log_level level)
{
	log_name = name;
	log_level = level;
}

bool log_enabled(enum sl_log_level level)
{
	return level <= log_level;
}

void log_line(const char *line, size_t len)
{
	/* One write per line, so that lines of threads and processes do not mix. A log that is gone or full must
	 * not stop the service: the result is not looked at. */
	char copy[8192];
	if (len > sizeof copy - 1)
		len = sizeof copy - 1;
	memcpy(copy, line, len);
	copy[len] = '\n';
	ssize_t written = write(STDERR_FILENO, copy, len + 1);
	(void) written;
}

void log_write(enum sl_log_level level, const char *format, ...)
{
	static const char *const words[] = { "error", "warn", "info", "debug" };
	if (!log_enabled(level))
		return;
	int saved_errno = errno;
	char text[2048], line[4096], ts[32];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	clock_rfc3339(clock_wall_ms(), ts);
	int n = snprintf(line, sizeof line, "ts=%s level=%s name=%s msg=\"", ts, words[level], log_name);
	size_t used = (size_t) n;
	for (const char *p = text; *p && used < sizeof line - 8; p++) {
		unsigned char c = (unsigned char) *p;
		if (c == '\n' && p[1] == '\0')
			break;
		if (c == '"' || c == '\\') {
			line[used++] = '\\';
			line[used++] = (char) c;
		} else if (c < 0x20 || c == 0x7f) {
			used += (size_t) snprintf(line + used, sizeof line - used, "\\x%02x", c);
		} else {
			line[used++] = (char) c;
		}
	}
	line[used++] = '"';
	log_line(line, used);
	errno = saved_errno;
}

enum { QUEUE_MAX = 1024 * 1024 };

static struct {
	pthread_once_t once;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct buf lines;
	unsigned long dropped;
	bool running;
} queue = { .once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER,
	.lines = { .max = QUEUE_MAX } };

static void write_all(const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(STDERR_FILENO, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* a log that is gone must not stop the service */
		data += n;
		len -= (size_t) n;
	}
}

static void *write_queue(void *arg)
{
	struct buf lines = { .max = QUEUE_MAX };
	(void) arg;
	for (;;) {
		pthread_mutex_lock(&queue.lock);
		while (queue.lines.len == 0)
			pthread_cond_wait(&queue.more, &queue.lock);
		struct buf full = queue.lines;
		queue.lines = lines;
		unsigned long dropped = queue.dropped;
		queue.dropped = 0;
		pthread_mutex_unlock(&queue.lock);
		write_all(full.data, full.len);
		if (dropped)
			log_warn("%lu log lines were dropped: standard error is slower than they come", dropped);
		lines = full;
		buf_clear(&lines);
		/* Lines of the next moments go out together. */
		usleep(20000);
	}
	return NULL;
}

static void start_queue(void)
{
	pthread_t thread;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	queue.running = pthread_create(&thread, &attr, write_queue, NULL) == 0;
	pthread_attr_destroy(&attr);
}

void log_queue(const char *line, size_t len)
{
	pthread_once(&queue.once, start_queue);
	if (!queue.running) {
		log_line(line, len);
		return;
	}
	pthread_mutex_lock(&queue.lock);
	bool wake = queue.lines.len == 0;
	if (queue.lines.len + len + 1 > QUEUE_MAX) {
		queue.dropped++;
	} else {
		buf_put(&queue.lines, line, len);
		buf_put(&queue.lines, "\n", 1);
	}
	pthread_mutex_unlock(&queue.lock);
	if (wake)
		pthread_cond_signal(&queue.more);
}

void log_flush(void)
{
	pthread_mutex_lock(&queue.lock);
	struct buf lines = queue.lines;
	queue.lines = (struct buf){ .max = QUEUE_MAX };
	pthread_mutex_unlock(&queue.lock);
	write_all(lines.data, lines.len);
	buf_free(&lines);
}
