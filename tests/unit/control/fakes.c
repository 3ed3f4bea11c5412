/* SPDX-License-Identifier: Apache-2.0 */
/* fakes.c - the pool, the fleet, an auth plugin and a store, played by the test. */
#include "tests/unit/control/fakes.h"

#include <pthread.h>
#include <sluice/auth.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"

struct fake_pool fake_pool;
struct fake_fleet fake_fleet;
struct fake_store fake_store = { .lock = PTHREAD_MUTEX_INITIALIZER };

void fakes_reset(void)
{
	json_decref(fake_pool.leases);
	fake_pool = (struct fake_pool){ .leases = json_object(), .last = 1000 };
	fake_fleet = (struct fake_fleet){ 0 };
}

/* the pool */

static void key_of(uint64_t number, char out[24])
{
	snprintf(out, 24, "%llu", (unsigned long long) number);
}

void fake_lease(uint64_t number, const char *name, const char *tenant, const char *user, const char *state)
{
	char key[24];
	key_of(number, key);
	bool over = strcmp(state, "ended") == 0;
	json_t *lease = json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:[s], s:{s:s}, s:o}", "lease", json_sprintf("L%s", key), "name", name,
	                          "tenant", tenant, "user", user, "state", state, "reason", "", "where", "node1/gpu0", "env",
	                          "OPENAI_API_KEY", "topsecret", "ended_at", over ? json_string("2026-11-24T10:00:00.000Z") : json_null());
	json_object_set_new(fake_pool.leases, key, lease);
}

int pool_submit(struct pool *pool, const struct pool_request *r, uint64_t *number, sl_error *error)
{
	(void) pool;
	if (fake_pool.refuse)
		return error_set(error, SL_EINVAL, "8 GPUs can never fit: there are 2");
	fake_pool.asked = *r;
	snprintf(fake_pool.asked_name, 64, "%s", r->name);
	snprintf(fake_pool.asked_tenant, 64, "%s", r->tenant);
	snprintf(fake_pool.asked_user, 64, "%s", r->user);
	snprintf(fake_pool.asked_queue, 64, "%s", r->queue);
	*number = ++fake_pool.last;
	fake_lease(*number, r->name, r->tenant, r->user, "queued");
	return SL_OK;
}

int pool_release(struct pool *pool, uint64_t number, uint64_t notice_ms, const char *reason, sl_error *error)
{
	(void) pool;
	(void) error;
	fake_pool.released = number;
	fake_pool.notice_ms = notice_ms;
	snprintf(fake_pool.reason, sizeof fake_pool.reason, "%s", reason);
	return SL_OK;
}

int pool_signal(struct pool *pool, uint64_t number, int signal, sl_error *error)
{
	(void) pool;
	(void) error;
	fake_pool.signalled = number;
	fake_pool.signal = signal;
	return SL_OK;
}

int pool_stdin(struct pool *pool, uint64_t number, const struct pool_input *input, void (*done)(void *arg, int code, int64_t taken),
               void *arg, sl_error *error)
{
	(void) pool;
	(void) number;
	(void) error;
	fake_pool.stdin_bytes += input->data.len;
	fake_pool.stdin_eof = input->eof;
	done(arg, fake_pool.stdin_code, input->writer ? input->from + (int64_t) input->data.len - 1 : -1);
	return SL_OK;
}

int pool_drain_device(struct pool *pool, const char *device, bool drain, const char *reason, sl_error *error)
{
	(void) pool;
	(void) device;
	(void) reason;
	(void) error;
	fake_pool.drained = drain;
	return SL_OK;
}

struct pool_watch *pool_watch(struct pool *pool, uint64_t number, bool logs, int64_t out_from, int64_t err_from,
                              void (*event)(void *arg, const struct pool_event *), void *arg)
{
	(void) pool;
	(void) number;
	(void) logs;
	(void) out_from;
	(void) err_from;
	fake_pool.event = event;
	fake_pool.event_arg = arg;
	fake_pool.watches++;
	return (struct pool_watch *) &fake_pool;
}

bool pool_log_kept(struct pool *pool, uint64_t number)
{
	(void) pool;
	return number != 11;
}

void pool_watch_pace(struct pool_watch *watch)
{
	(void) watch;
}

void pool_watch_hold(struct pool_watch *watch, bool held)
{
	(void) watch;
	(void) held;
}

void pool_unwatch(struct pool_watch *watch)
{
	(void) watch;
	fake_pool.event = NULL;
	fake_pool.watches--;
}

void fake_event(const json_t *lease, const char *log, uint64_t from, sl_str data, bool end)
{
	if (fake_pool.event)
		fake_pool.event(fake_pool.event_arg,
		                &(struct pool_event){ .lease = lease, .log = log, .from = from, .data = data, .end = end });
}

int pool_logs(struct pool *pool, uint64_t number, const char *source, int64_t from, size_t max,
              void (*done)(void *arg, const char *data, size_t len, uint64_t from, uint64_t next), void *arg, sl_error *error)
{
	(void) pool;
	(void) number;
	if (!fake_pool.log)
		return error_set(error, SL_ENOTFOUND, "it does not run yet");
	size_t len = strcmp(source, "out") == 0 ? strlen(fake_pool.log) : 0;
	size_t at = from < 0 ? 0 : (size_t) from < len ? (size_t) from : len;
	size_t n = len - at < 3 ? len - at : 3;
	n = n < max ? n : max;
	done(arg, fake_pool.log + at, n, at, at + n);
	return SL_OK;
}

json_t *pool_lease(struct pool *pool, uint64_t number)
{
	char key[24];
	(void) pool;
	key_of(number, key);
	return json_incref(json_object_get(fake_pool.leases, key));
}

json_t *pool_lease_of(const json_t *record)
{
	return json_deep_copy(record);
}

json_t *pool_leases(struct pool *pool)
{
	(void) pool;
	json_t *list = json_array(), *lease;
	const char *key;
	json_object_foreach(fake_pool.leases, key, lease)
		json_array_insert(list, 0, lease);
	return list;
}

json_t *pool_devices(struct pool *pool)
{
	(void) pool;
	return json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:s}]", "device", "node1/gpu0", "state", fake_pool.drained ? "draining" : "free",
	                 "reason", "", "device", "node1/gpu1", "state", "faulty", "reason", "Xid 79");
}

json_t *pool_agents(struct pool *pool)
{
	(void) pool;
	return json_pack("[{s:s, s:s, s:s}]", "machine", "node1", "state", "ready", "containment", "cgroup2");
}

uint64_t pool_find(struct pool *pool, const struct pool_search *search, struct pool_names *several)
{
	const char *key;
	json_t *lease;
	(void) pool;
	*several = (struct pool_names){ 0 };
	json_object_foreach(fake_pool.leases, key, lease) {
		if (!str_eq(str_of(json_get_str(lease, "name", "")), search->id) ||
		    !search->sees(search->arg, json_get_str(lease, "tenant", ""), json_get_str(lease, "user", "")))
			continue;
		if (several->n < 2)
			several->at[several->n] = strtoull(key, NULL, 10);
		several->n++;
	}
	uint64_t number = several->n == 1 ? several->at[0] : 0;
	several->n = several->n > 1 ? several->n : 0;
	return number;
}

void pool_totals(struct pool *pool, struct pool_totals *out)
{
	(void) pool;
	*out = (struct pool_totals){ .devices = 2, .free = 1, .faulty = 1, .running = 3, .waiting = 1, .longest_wait_ms = 5500 };
}

/* the fleet */

json_t *fleet_models(struct fleet *fleet)
{
	(void) fleet;
	return json_pack("[{s:s, s:s, s:i}, {s:s, s:s, s:s}]", "model", "tiny", "state", "ready", "waiting", 4, "model", "big", "state", "failed", "why",
	                 "cannot be started: no weights");
}

json_t *fleet_replicas(struct fleet *fleet)
{
	(void) fleet;
	return json_pack("[{s:s}]", "replica", "tiny/r1");
}

int fleet_start(struct fleet *fleet, const char *model, sl_error *error)
{
	(void) fleet;
	if (strcmp(model, "big") == 0)
		return error_set(error, SL_ECONFLICT, "model 'big' has all its replicas");
	fake_fleet.started++;
	return SL_OK;
}

int fleet_stop(struct fleet *fleet, const char *model, sl_error *error)
{
	(void) fleet;
	(void) model;
	(void) error;
	fake_fleet.stopped++;
	return SL_OK;
}

/* the auth plugin */

static int plugins[2];
static struct {
	plugin_token_done done;
	void *arg;
	atomic_bool open;
} token;

struct plugin *fake_plugin(int index)
{
	return (struct plugin *) &plugins[index];
}

static uint32_t roles_of(const char *text)
{
	return (strstr(text, "infer") ? SL_ROLE_INFER : 0u) | (strstr(text, "lease") ? SL_ROLE_LEASE : 0u) |
	       (strstr(text, "operator") ? SL_ROLE_OPERATOR : 0u) | (strstr(text, "admin") ? SL_ROLE_ADMIN : 0u);
}

static void *answer_later(void *arg)
{
	sl_identity *who = arg;
	usleep(5000);
	if (atomic_exchange(&token.open, false))
		token.done(token.arg, who, sizeof *who, NULL);
	free(who);
	return NULL;
}

static int authenticate(void *self, const sl_auth_request *request, sl_token t, sl_identity *out, sl_error *error)
{
	char text[128];
	(void) t;
	str_copy(text, sizeof text, request->authorization);
	if (self == &plugins[0] || !request->authorization.len)
		return SL_NOT_MINE;
	if (strcmp(text, "no") == 0)
		return error_set(error, SL_EAUTH, "this key is disabled");
	bool later = strncmp(text, "later ", 6) == 0;
	char *who = text + (later ? 6 : 0), *user = strchr(who, '/'), *roles = user ? strchr(user, ':') : NULL;
	if (!roles)
		return SL_NOT_MINE;
	str_copy(out->tenant, sizeof out->tenant, (sl_str){ who, (size_t) (user - who) });
	str_copy(out->user, sizeof out->user, (sl_str){ user + 1, (size_t) (roles - user - 1) });
	out->roles = roles_of(roles);
	if (!later)
		return SL_OK;
	pthread_t thread;
	sl_identity *copy = malloc(sizeof *copy);
	*copy = *out;
	pthread_create(&thread, NULL, answer_later, copy);
	pthread_detach(thread);
	return SL_PENDING;
}

static const sl_auth_ops auth_ops = { .size = sizeof auth_ops, .authenticate = authenticate };

const void *plugin_ops(const struct plugin *p)
{
	(void) p;
	return &auth_ops;
}

void *plugin_self(const struct plugin *p)
{
	return (void *) p;
}

const char *plugin_name(const struct plugin *p)
{
	(void) p;
	return "fake";
}

sl_token plugin_token_new(struct plugin *p, uint64_t deadline_ns, plugin_token_done done, void *arg)
{
	(void) p;
	(void) deadline_ns;
	token.done = done;
	token.arg = arg;
	atomic_store(&token.open, true);
	return 7;
}

bool plugin_token_drop(struct plugin *p, sl_token t)
{
	(void) p;
	(void) t;
	return atomic_exchange(&token.open, false);
}

/* the store */

static int last_seq(void *self, uint64_t *seq, sl_error *error)
{
	(void) self;
	(void) error;
	*seq = 0;
	return SL_OK;
}

static int append(void *self, const sl_record *records, size_t n, sl_error *error)
{
	struct fake_store *s = self;
	(void) error;
	for (size_t i = 0; i < n; i++)
		if (records[i].type == SL_RECORD_OBJECT)
			atomic_fetch_add(records[i].size ? &s->objects : &s->deleted, 1);
	return SL_OK;
}

static void note(struct fake_store *s, const sl_usage_filter *f, uint32_t by)
{
	pthread_mutex_lock(&s->lock);
	str_copy(s->tenant, sizeof s->tenant, f->tenant);
	s->since_ms = f->since_ms;
	s->until_ms = f->until_ms;
	s->by = by ? by : s->by;
	pthread_mutex_unlock(&s->lock);
}

static int usage_sum(void *self, const sl_usage_filter *f, uint32_t by, int (*each)(void *arg, const sl_usage_sum *), void *arg,
                     sl_error *error)
{
	struct fake_store *s = self;
	while (atomic_load(&s->slow))
		usleep(1000);
	if (atomic_load(&s->broken))
		return error_set(error, SL_EIO, "the disk is gone");
	note(s, f, by);
	sl_usage_sum sum = { .size = sizeof sum, .requests = 2, .input_tokens = 30, .cached_tokens = 10, .output_tokens = 5,
		             .cost_high = 1, .cost_low = 0 };
	if (!by)
		return each(arg, &sum), SL_OK;
	strcpy(sum.day, by & SL_BY_DAY ? "2026-11-24" : "");
	strcpy(sum.model, by & SL_BY_MODEL ? "tiny" : "");
	sum.requests = 1;
	if (each(arg, &sum) == 0)
		each(arg, &sum);
	return SL_OK;
}

static int usage_scan(void *self, const sl_usage_filter *f, uint64_t limit, int (*each)(void *arg, uint64_t seq, const sl_usage *),
                      void *arg, sl_error *error)
{
	(void) error;
	note(self, f, 0);
	sl_usage u = { .started_ms = 1795478400000, .input_tokens = 388, .cost = 54000000, .flags = SL_USAGE_STREAM | SL_USAGE_ESTIMATED,
		       .status = 200, .tries = 1, .request_id = "req_01JD8M", .tenant = "physics", .model = "tiny" };
	memset(u.door, 'x', sizeof u.door); /* no NUL at its end */
	for (uint64_t i = 0; i < 3 && (!limit || i < limit); i++)
		each(arg, 100 - i, &u);
	return SL_OK;
}

static int lease_history(void *self, sl_str id, int (*each)(void *arg, uint64_t wall_ms, sl_str json), void *arg, sl_error *error)
{
	struct fake_store *s = self;
	if (atomic_load(&s->broken))
		return error_set(error, SL_EIO, "the disk is gone");
	(void) id;
	each(arg, 1795478400000, STR("{\"state\":\"queued\",\"reason\":\"1 more\",\"env\":{\"A\":\"topsecret\"}}"));
	each(arg, 1795478401000, STR("this is not JSON"));
	return SL_OK;
}

/* A price that does not make the cost of the use above, and what is no price. */
static int object_scan(void *self, sl_str prefix, int (*each)(void *arg, sl_str key, sl_str json), void *arg, sl_error *error)
{
	(void) self;
	(void) error;
	if (str_eq(prefix, STR("price/"))) {
		each(arg, STR("price/tiny/1"), STR("{\"model\":\"tiny\",\"input\":1,\"cached\":1,\"output\":1}"));
		each(arg, STR("price/tiny/2"), STR("no JSON"));
	}
	return SL_OK;
}

/* Leases that ended before the daemon was started, and one that the pool knows as well. */
static int lease_list(void *self, const sl_lease_filter *f, int (*each)(void *arg, sl_str id, sl_str json), void *arg,
                      sl_error *error)
{
	static const struct {
		uint64_t number;
		const char *tenant, *user;
	} leases[] = { { 9, "physics", "dana" }, { 5, "physics", "dana" }, { 4, "physics", "eve" }, { 3, "chem", "bob" } };
	struct fake_store *s = self;
	uint64_t given = 0;
	if (atomic_load(&s->broken))
		return error_set(error, SL_EIO, "the disk is gone");
	for (size_t i = 0; i < sizeof leases / sizeof leases[0] && (!f->limit || given < f->limit); i++) {
		char id[24], json[256];
		if ((f->before && leases[i].number >= f->before) || (f->tenant.len && !str_eq(f->tenant, str_of(leases[i].tenant))) ||
		    (f->user.len && !str_eq(f->user, str_of(leases[i].user))))
			continue;
		snprintf(id, sizeof id, "L%d", (int) leases[i].number);
		snprintf(json, sizeof json, "{\"lease\":\"%s\",\"tenant\":\"%s\",\"user\":\"%s\",\"ended_at\":\"2026-11-24T00:00:00.000Z\","
		         "\"name\":\"stored\",\"env\":{\"A\":\"topsecret\"}}", id, leases[i].tenant, leases[i].user);
		given++;
		if (each(arg, str_of(id), str_of(json)) != 0)
			break;
	}
	return SL_OK;
}

const sl_store_ops fake_store_ops = { .size = sizeof fake_store_ops, .last_seq = last_seq, .append = append, .usage_sum = usage_sum,
	                              .usage_scan = usage_scan, .lease_history = lease_history,
	                              .object_scan = object_scan, .lease_list = lease_list };
