/* SPDX-License-Identifier: Apache-2.0 */
/* frame.c - length-prefixed JSON: the bytes, and blocking descriptors. */
#include "core/loop/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/json.h"

enum { FRAME_HEAD = 4 };

static void put_length(char head[FRAME_HEAD], size_t len)
{
	for (int i = 0; i < FRAME_HEAD; i++)
		head[i] = (char) (len >> (8 * (FRAME_HEAD - 1 - i)) & 0xff);
}

static size_t get_length(const char *head)
{
	size_t len = 0;
	for (int i = 0; i < FRAME_HEAD; i++)
		len = len << 8 | (unsigned char) head[i];
	return len;
}

int frame_write(struct buf *out, const json_t *message)
{
	if (!json_is_object(message))
		return SL_EINVAL;
	char *text = json_text(message);
	if (!text)
		return SL_ENOMEM;
	size_t len = strlen(text);
	int rc = len > FRAME_MAX ? SL_EINVAL : SL_OK;
	if (rc == SL_OK && !buf_reserve(out, FRAME_HEAD + len))
		rc = SL_ENOMEM;
	if (rc == SL_OK) {
		char head[FRAME_HEAD];
		put_length(head, len);
		buf_put(out, head, sizeof head);
		buf_put(out, text, len);
	}
	free(text);
	return rc;
}

static json_t *parse_message(const char *text, size_t len, sl_error *error)
{
	json_t *message = json_parse((sl_str){ text, len }, error);
	if (message && !json_is_object(message)) {
		json_decref(message);
		message = NULL;
		error_set(error, SL_EINVAL, "a message must be a JSON object");
	}
	return message;
}

static int check_length(size_t len, sl_error *error)
{
	if (len > FRAME_MAX)
		return error_set(error, SL_EINVAL, "a message of %zu bytes is announced, at most %d are allowed", len, FRAME_MAX);
	return SL_OK;
}

int frame_read(struct frame_reader *reader, const void *data, size_t len, frame_take take, void *arg, sl_error *error)
{
	/* The bytes are moved out of the reader for the loop: `take` may free the reader. */
	buf_put(&reader->in, data, len);
	if (reader->in.failed)
		return error_set(error, SL_ENOMEM, "out of memory for a message");
	struct buf in = reader->in;
	reader->in = (struct buf){ 0 };
	size_t at = 0;
	int rc = SL_OK;
	bool going = true;
	while (rc == SL_OK && going && in.len - at >= FRAME_HEAD) {
		size_t size = get_length(in.data + at);
		rc = check_length(size, error);
		if (rc != SL_OK || in.len - at - FRAME_HEAD < size)
			break;
		json_t *message = parse_message(in.data + at + FRAME_HEAD, size, error);
		if (!message) {
			rc = SL_EINVAL;
			break;
		}
		at += FRAME_HEAD + size;
		going = take(arg, message);
		json_decref(message);
	}
	if (!going || rc != SL_OK) {
		buf_free(&in);
		return rc;
	}
	buf_consume(&in, at);
	reader->in = in;
	return SL_OK;
}

void frame_reader_free(struct frame_reader *reader)
{
	buf_free(&reader->in);
}

int frame_emit(int fd, const json_t *message, sl_error *error)
{
	struct buf out = { 0 };
	int rc = frame_write(&out, message);
	if (rc != SL_OK)
		error_set(error, rc, "a message cannot be written: it is no object, too long, or memory is out");
	for (size_t at = 0; rc == SL_OK && at < out.len;) {
		ssize_t n = send(fd, out.data + at, out.len - at, MSG_NOSIGNAL);
		if (n >= 0)
			at += (size_t) n;
		else if (errno != EINTR)
			rc = error_set(error, SL_EIO, "sending a message failed: %s", strerror(errno));
	}
	buf_free(&out);
	return rc;
}

static int read_all(int fd, char *data, size_t len, sl_error *error)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, data + at, len - at);
		if (n > 0)
			at += (size_t) n;
		else if (n == 0)
			return error_set(error, SL_EIO, "the other side has gone");
		else if (errno != EINTR)
			return error_set(error, SL_EIO, "reading a message failed: %s", strerror(errno));
	}
	return SL_OK;
}

json_t *frame_recv(int fd, sl_error *error)
{
	char head[FRAME_HEAD];
	if (read_all(fd, head, sizeof head, error) != SL_OK)
		return NULL;
	size_t len = get_length(head);
	if (check_length(len, error) != SL_OK)
		return NULL;
	char *text = malloc(len + 1);
	if (!text) {
		error_set(error, SL_ENOMEM, "out of memory for a message");
		return NULL;
	}
	json_t *message = read_all(fd, text, len, error) == SL_OK ? parse_message(text, len, error) : NULL;
	free(text);
	return message;
}
