/* SPDX-License-Identifier: Apache-2.0 */
/* ops.c - the requests of the protocol. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/agent/server.h"
#include "core/base/base64.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"

enum { PROTOCOL = 1 };

struct op {
	const char *name;
	/* Answers with server_ok, now or later, or returns an error. */
	int (*run)(struct client *c, struct reply to, json_t *request, sl_error *error);
};

static int wrong(sl_error *error, const char *field)
{
	return error_set(error, SL_EINVAL, "%s: missing, or of the wrong type", field);
}

static int get_lease(struct client *c, const json_t *request, struct lease **out, sl_error *error)
{
	const char *name = json_get_str(request, "lease", NULL);
	if (!name)
		return wrong(error, "lease");
	*out = lease_find(c->agent, name);
	if (!*out)
		return error_set(error, SL_ENOTFOUND, "there is no lease %.64s here", name);
	return SL_OK;
}

/* An integer between the bounds. False: missing (unless optional) or something else. */
static bool get_number(const json_t *request, const char *key, bool optional, int64_t min, int64_t max, int64_t *out)
{
	const json_t *v = json_object_get(request, key);
	if (!v)
		return optional;
	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
		return false;
	*out = json_integer_value(v);
	return true;
}

static int op_hello(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct agent *a = c->agent;
	int64_t version = 0;
	if (!get_number(request, "version", false, 0, INT32_MAX, &version))
		return wrong(error, "version");
	if (version != PROTOCOL)
		return error_set(error, SL_ENOTSUP, "version: this agent speaks %d, not %lld", PROTOCOL, (long long) version);
	c->hello = true;
	server_ok(a, to, json_pack("{s:i,s:s,s:s,s:i,s:s,s:I,s:s}", "version", PROTOCOL, "machine", a->machine, "boot_id",
	                           a->boot_id, "pid", (int) getpid(), "plugins", a->plugins, "started_ms",
	                           (json_int_t) a->started_ms, "containment", a->containment.cgroup2 ? "cgroup2" : "processes"));
	return SL_OK;
}

static int op_devices(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct agent *a = c->agent;
	json_t *devices = json_array(), *backends = json_array();
	(void) request;
	(void) error;
	for (size_t i = 0; i < a->n_backends; i++) {
		backend_devices(a->backends[i], devices);
		json_array_append_new(backends, backend_state(a->backends[i]));
	}
	server_ok(a, to, json_pack("{s:o,s:o}", "devices", devices, "backends", backends));
	return SL_OK;
}

static int op_start(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	(void) error;
	lease_start(c->agent, to, request);
	return SL_OK;
}

static int op_signal(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int64_t number = 0;
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	if (!get_number(request, "signal", false, 1, SIGRTMAX, &number))
		return wrong(error, "signal");
	rc = lease_signal(l, (int) number, error);
	if (rc == SL_OK)
		server_ok(c->agent, to, NULL);
	return rc;
}

static int put_input(struct client *c, struct reply to, struct lease *l, const json_t *request, struct lease_piece *piece,
                     sl_error *error)
{
	int64_t writer = 0, from = 0;
	uint64_t taken;
	if (!json_object_get(request, "writer")) {
		int rc = lease_input(l, piece->data, piece->eof, error);
		if (rc == SL_OK)
			server_ok(c->agent, to, NULL);
		return rc;
	}
	if (!get_number(request, "writer", false, 1, INT64_MAX, &writer))
		return wrong(error, "writer");
	if (!get_number(request, "from", false, 0, INT64_MAX / 2, &from))
		return wrong(error, "from");
	piece->writer = (uint64_t) writer;
	piece->from = (uint64_t) from;
	int rc = lease_input_from(l, piece, &taken, error);
	if (rc == SL_OK)
		server_ok(c->agent, to, json_pack("{s:I}", "taken", (json_int_t) taken));
	return rc;
}

static int op_stdin(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	const json_t *data = json_object_get(request, "data"), *eof = json_object_get(request, "eof");
	struct buf bytes = { 0 };
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	if (data && !json_is_string(data))
		return wrong(error, "data");
	if (eof && !json_is_boolean(eof))
		return wrong(error, "eof");
	if (!base64_get(&bytes, str_of(data ? json_string_value(data) : "")))
		rc = error_set(error, SL_EINVAL, "data: not base64");
	if (rc == SL_OK)
		rc = put_input(c, to, l, request, &(struct lease_piece){ .data = buf_str(&bytes), .eof = json_is_true(eof) }, error);
	buf_free(&bytes);
	return rc;
}

static int op_listens(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int64_t port = 0;
	bool own;
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	if (!get_number(request, "port", false, 1, 65535, &port))
		return wrong(error, "port");
	rc = tree_listens(&l->tree, (unsigned) port, &own, error);
	if (rc == SL_OK)
		server_ok(c->agent, to, json_pack("{s:b}", "own", own));
	return rc;
}

static int op_stop(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int64_t notice = 0;
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	if (!get_number(request, "notice_ms", true, 0, 24 * 3600 * 1000, &notice))
		return wrong(error, "notice_ms");
	const json_t *reason = json_object_get(request, "reason");
	if (reason && !json_is_string(reason))
		return wrong(error, "reason");
	server_ok(c->agent, to, NULL);
	lease_stop(l, (uint64_t) notice, reason ? json_string_value(reason) : "stopped");
	return SL_OK;
}

static int op_suspend(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int64_t timeout = 0;
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	if (!get_number(request, "timeout_ms", false, 1, 600000, &timeout))
		return wrong(error, "timeout_ms");
	rc = lease_suspend(l, (uint64_t) timeout, error);
	if (rc == SL_OK)
		server_ok(c->agent, to, NULL);
	return rc;
}

static int op_resume(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int64_t timeout = 0;
	size_t i;
	json_t *devices = json_object_get(request, "devices"), *uuid;
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	if (!get_number(request, "timeout_ms", false, 1, 600000, &timeout))
		return wrong(error, "timeout_ms");
	if (!json_is_array(devices))
		return wrong(error, "devices");
	json_array_foreach(devices, i, uuid) {
		if (!json_is_string(uuid))
			return wrong(error, "devices");
		const struct lease *user = lease_using(c->agent, uuid);
		if (user && user != l)
			return error_set(error, SL_ECONFLICT, "device %s is in use by lease %s", json_string_value(uuid), user->tree.lease);
	}
	rc = lease_resume(l, json_incref(devices), (uint64_t) timeout, error);
	if (rc == SL_OK)
		server_ok(c->agent, to, NULL);
	return rc;
}

static int get_source(struct lease *l, const json_t *request, struct log_file **out, sl_error *error)
{
	const char *source = json_get_str(request, "source", "");
	*out = strcmp(source, "out") == 0 ? &l->out : strcmp(source, "err") == 0 ? &l->err : NULL;
	return *out ? SL_OK : error_set(error, SL_EINVAL, "source: must be \"out\" or \"err\"");
}

static json_t *base64_json(const struct buf *data)
{
	struct buf text = { 0 };
	base64_put(&text, data->data, data->len);
	json_t *value = text.failed ? NULL : json_stringn(text.data ? text.data : "", text.len);
	buf_free(&text);
	return value;
}

static int op_logs(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	struct log_file *log;
	struct buf data = { 0 };
	int64_t from = 0, max = AGENT_LOG_PIECE;
	int rc = get_lease(c, request, &l, error);
	if (rc == SL_OK)
		rc = get_source(l, request, &log, error);
	if (rc != SL_OK)
		return rc;
	if (!get_number(request, "from", true, INT64_MIN / 2, INT64_MAX / 2, &from))
		return wrong(error, "from");
	if (!get_number(request, "max", true, 0, INT64_MAX, &max))
		return wrong(error, "max");
	if (max > AGENT_LOG_PIECE)
		max = AGENT_LOG_PIECE;
	if (!log_file_read(log, &from, (size_t) max, &data)) {
		buf_free(&data);
		return error_set(error, SL_EIO, "the log of lease %s cannot be read", l->tree.lease);
	}
	server_ok(c->agent, to, json_pack("{s:o,s:I,s:I,s:I,s:b}", "data", base64_json(&data), "from", (json_int_t) from,
	                                  "next", (json_int_t) from + (json_int_t) data.len, "size", (json_int_t) log->size,
	                                  "ended", l->state == LEASE_ENDED));
	buf_free(&data);
	return SL_OK;
}

static void push_source(struct client *c, struct follow *f, struct log_file *log, const char *source, int64_t *at)
{
	struct buf data = { 0 };
	while (frame_queued(c->connection) < CLIENT_BACKLOG) {
		int64_t from = *at;
		buf_clear(&data);
		if (!log_file_read(log, &from, AGENT_LOG_PIECE, &data) || data.len == 0)
			break;
		json_t *event = json_pack("{s:s,s:s,s:s,s:I,s:o}", "event", "log", "lease", f->lease->tree.lease, "source", source,
		                          "from", (json_int_t) from, "data", base64_json(&data));
		int rc = frame_send(c->connection, event);
		json_decref(event);
		if (rc != SL_OK)
			break;
		*at = from + (int64_t) data.len;
	}
	buf_free(&data);
}

void client_push(struct client *c, struct follow *f)
{
	push_source(c, f, &f->lease->out, "out", &f->out);
	push_source(c, f, &f->lease->err, "err", &f->err);
}

void client_unfollow(struct client *c, const struct lease *lease)
{
	for (struct follow **at = &c->follows; *at; at = &(*at)->next)
		if ((*at)->lease == lease) {
			struct follow *f = *at;
			*at = f->next;
			c->n_follows--;
			free(f);
			return;
		}
}

/* -1: from now on; an offset else. */
static int64_t follow_from(struct log_file *log, int64_t asked)
{
	if (asked >= 0)
		return asked;
	log_file_tick(log, UINT64_MAX / 2);
	return (int64_t) log->size;
}

static int op_follow(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int64_t out = -1, err = -1;
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	if (!get_number(request, "out", true, -1, INT64_MAX / 2, &out))
		return wrong(error, "out");
	if (!get_number(request, "err", true, -1, INT64_MAX / 2, &err))
		return wrong(error, "err");
	client_unfollow(c, l);
	if (c->n_follows >= CLIENT_FOLLOWS_MAX)
		return error_set(error, SL_EFULL, "this connection follows %zu leases already", c->n_follows);
	struct follow *f = calloc(1, sizeof *f);
	if (!f)
		return error_set(error, SL_ENOMEM, "out of memory");
	*f = (struct follow){ .next = c->follows, .lease = l, .out = follow_from(&l->out, out), .err = follow_from(&l->err, err) };
	c->follows = f;
	c->n_follows++;
	server_ok(c->agent, to, NULL);
	client_push(c, f);
	agent_watch_logs(c->agent);
	return SL_OK;
}

static int op_unfollow(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	client_unfollow(c, l);
	server_ok(c->agent, to, NULL);
	return SL_OK;
}

static int op_pace(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int64_t out = -1, err = -1, hold = 0;
	int rc = get_lease(c, request, &l, error);
	if (rc != SL_OK)
		return rc;
	if (!get_number(request, "out", true, -1, INT64_MAX / 2, &out))
		return wrong(error, "out");
	if (!get_number(request, "err", true, -1, INT64_MAX / 2, &err))
		return wrong(error, "err");
	if (!get_number(request, "hold_ms", false, 0, AGENT_HOLD_MAX_MS, &hold))
		return wrong(error, "hold_ms");
	rc = lease_pace(l, out, err, (uint64_t) hold, error);
	if (rc == SL_OK)
		server_ok(c->agent, to, NULL);
	return rc;
}

static int op_list(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	json_t *list = json_array();
	(void) request;
	(void) error;
	for (const struct lease *l = c->agent->leases; l; l = l->next)
		json_array_append_new(list, lease_json(l));
	server_ok(c->agent, to, json_pack("{s:o}", "leases", list));
	return SL_OK;
}

static int op_forget(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	struct lease *l;
	int rc = get_lease(c, request, &l, error);
	if (rc == SL_OK)
		rc = lease_forget(l, error);
	if (rc == SL_OK)
		server_ok(c->agent, to, NULL);
	return rc;
}

struct scrub {
	struct agent *agent;
	struct reply reply;
};

static void scrubbed(void *arg, json_t *faulty)
{
	struct scrub *s = arg;
	const json_t *first = json_array_get(faulty, 0);
	sl_error e = { 0 };
	if (first) {
		error_set(&e, SL_EUNAVAILABLE, "%s: %s", json_get_str(first, "uuid", "?"), json_get_str(first, "reason", ""));
		server_error(s->agent, s->reply, &e);
	} else {
		server_ok(s->agent, s->reply, NULL);
	}
	json_decref(faulty);
	free(s);
}

static int op_scrub(struct client *c, struct reply to, json_t *request, sl_error *error)
{
	const json_t *devices = json_object_get(request, "devices");
	size_t i;
	json_t *uuid;
	if (!json_is_array(devices))
		return wrong(error, "devices");
	json_array_foreach(devices, i, uuid) {
		if (!json_is_string(uuid))
			return wrong(error, "devices");
		const struct lease *user = lease_using(c->agent, uuid);
		if (user)
			return error_set(error, SL_ECONFLICT, "device %s is in use by lease %s", json_string_value(uuid), user->tree.lease);
		if (!agent_backend_of(c->agent, json_string_value(uuid)))
			return error_set(error, SL_ENOTFOUND, "no backend has a device %s", json_string_value(uuid));
	}
	struct scrub *s = malloc(sizeof *s);
	if (!s)
		return error_set(error, SL_ENOMEM, "out of memory");
	*s = (struct scrub){ c->agent, to };
	release_devices(c->agent, devices, "", scrubbed, s);
	return SL_OK;
}

void ops_request(struct client *c, json_t *request)
{
	static const struct op ops[] = {
		{ "hello", op_hello }, { "devices", op_devices }, { "start", op_start }, { "signal", op_signal },
		{ "stdin", op_stdin }, { "stop", op_stop }, { "logs", op_logs }, { "follow", op_follow },
		{ "unfollow", op_unfollow }, { "list", op_list }, { "forget", op_forget }, { "scrub", op_scrub },
		{ "listens", op_listens }, { "pace", op_pace }, { "suspend", op_suspend }, { "resume", op_resume },
	};
	const json_t *id = json_object_get(request, "id"), *name = json_object_get(request, "op");
	struct reply to = { c->number, json_integer_value(id) };
	sl_error e = { 0 };
	int rc = SL_EINVAL;
	if (!json_is_integer(id)) {
		wrong(&e, "id");
	} else if (!json_is_string(name)) {
		wrong(&e, "op");
	} else {
		size_t i = 0, n = sizeof ops / sizeof *ops;
		while (i < n && strcmp(ops[i].name, json_string_value(name)) != 0)
			i++;
		rc = i < n ? ops[i].run(c, to, request, &e) : error_set(&e, SL_EINVAL, "op: unknown op %.64s", json_string_value(name));
	}
	if (rc != SL_OK)
		server_error(c->agent, to, &e);
}
