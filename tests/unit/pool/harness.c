/* SPDX-License-Identifier: Apache-2.0 */
/* harness.c - a pool with a fake agent, ledger and configuration around it. */
#define _GNU_SOURCE /* accept4 */
#include "tests/unit/pool/harness.h"

#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"

extern const sl_plugin sluice_plugin; /* scheduler fifo, linked in */

/* The ledger. */
uint64_t ledger_append(struct ledger *l, uint32_t type, sl_str key, const void *data, size_t size)
{
	struct fake_ledger *fake = (struct fake_ledger *) l;
	char id[64];
	if (fake->refuses)
		return 0;
	str_copy(id, sizeof id, key);
	if (type == SL_RECORD_OBJECT) {
		if (size)
			json_object_set_new(fake->objects, id, json_loadb(data, size, 0, NULL));
		else
			json_object_del(fake->objects, id);
		return ++fake->seq;
	}
	json_t *record = json_loadb(data, size, 0, NULL);
	json_array_append_new(fake->history, json_pack("[s, O]", id, json_object_get(record, "state")));
	json_object_set_new(fake->records, id, record);
	return ++fake->seq;
}

uint64_t ledger_committed(const struct ledger *l)
{
	return ((const struct fake_ledger *) l)->committed;
}

/* The configuration: what the pool looks at. */
struct conf *conf_ref(struct conf *conf)
{
	return conf;
}

void conf_unref(struct conf *conf)
{
	(void) conf;
}

const struct conf_tenant *conf_tenant(const struct conf *conf, sl_str name)
{
	(void) conf;
	(void) name;
	return NULL;
}

int64_t conf_gpu_second(const struct conf *conf, sl_str kind)
{
	(void) conf;
	return kind.len ? 1000 : 0;
}

const struct conf_queue *conf_queue(const struct conf *conf, sl_str name)
{
	for (size_t i = 0; i < conf->n_queues; i++)
		if (str_eq(name, str_of(conf->queues[i].name)))
			return &conf->queues[i];
	return NULL;
}

/* The agent. */
static struct fake_lease *find_lease(struct fake_agent *a, const char *id)
{
	for (size_t i = 0; i < a->n_leases; i++)
		if (strcmp(a->leases[i].id, id) == 0)
			return &a->leases[i];
	return NULL;
}

static json_t *device_json_of(struct fake_agent *a, unsigned i)
{
	char uuid[32];
	snprintf(uuid, sizeof uuid, "GPU-%u", i);
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:I, s:b, s:s, s:s}", "uuid", uuid, "backend", "sim", "index", (int) i,
	                 "vendor", "sim", "model", "Sim 40", "kind", "sim-40g", "memory_bytes", (json_int_t) 40 << 30, "suspends", a->suspends, "health",
	                 a->health[i], "reason", strcmp(a->health[i], "ok") == 0 ? "" : "fell off the bus");
}

static json_t *lease_json_of(const struct fake_lease *l)
{
	json_t *object = json_pack("{s:s, s:s, s:i, s:I}", "lease", l->id, "state", l->state, "pid", 7, "started_ms",
	                           (json_int_t) l->started_ms);
	json_object_set_new(object, "paused_ms", json_integer(l->paused_ms));
	if (strcmp(l->state, "ended") == 0) {
		json_object_set_new(object, "ended_ms", json_integer(l->ended_ms));
		json_object_set_new(object, "exit_code", json_integer(l->signal ? -1 : l->exit_code));
		json_object_set_new(object, "signal", json_integer(l->signal));
		json_object_set_new(object, "reason", json_string(l->reason));
		json_object_set_new(object, "memory_peak_bytes", json_integer(1 << 20));
		json_t *faulty = json_array();
		if (l->faulty[0])
			json_array_append_new(faulty, json_pack("{s:s, s:s}", "uuid", l->faulty, "reason", "memory still in use"));
		json_object_set_new(object, "faulty", faulty);
	}
	return object;
}

static void set_data(json_t *object, const char *data, size_t len)
{
	char *text = malloc(4 * (len / 3 + 1) + 1);
	EVP_EncodeBlock((unsigned char *) text, (const unsigned char *) data, (int) len);
	json_object_set_new(object, "data", json_string(len ? text : ""));
	free(text);
}

static json_t *do_start(struct fake_agent *a, const json_t *m)
{
	struct fake_lease *l = &a->leases[a->n_leases++];
	*l = (struct fake_lease){ .started_ms = (int64_t) clock_wall_ms() };
	snprintf(l->id, sizeof l->id, "%s", json_get_str(m, "lease", "?"));
	snprintf(l->state, sizeof l->state, "running");
	l->limit_ms = json_get_int(m, "limit_ms", 0);
	size_t i;
	json_t *uuid;
	json_array_foreach(json_object_get(m, "devices"), i, uuid)
		snprintf(l->devices[l->n_devices++], 96, "%s", json_string_value(uuid));
	return json_pack("{s:i, s:I}", "pid", 7, "started_ms", (json_int_t) l->started_ms);
}

static json_t *do_logs(const struct fake_lease *l, const json_t *m)
{
	int64_t from = json_get_int(m, "from", 0), max = json_get_int(m, "max", 1);
	bool out = strcmp(json_get_str(m, "source", ""), "out") == 0;
	int64_t size = out ? (int64_t) l->out_len : 0;
	if (from < 0)
		from = size + from > 0 ? size + from : 0;
	if (from > size)
		from = size;
	int64_t len = size - from < max ? size - from : max;
	if (len > 7) /* small pieces, so that several are needed */
		len = 7;
	json_t *ok = json_pack("{s:I, s:I, s:I, s:b}", "from", (json_int_t) from, "next", (json_int_t) (from + len), "size",
	                       (json_int_t) size, "ended", strcmp(l->state, "ended") == 0);
	set_data(ok, l->out + from, (size_t) len);
	return ok;
}

static json_t *answer_list(struct fake_agent *a)
{
	json_t *list = json_array();
	for (size_t i = 0; i < a->n_leases; i++)
		json_array_append_new(list, lease_json_of(&a->leases[i]));
	return json_pack("{s:o}", "leases", list);
}

static json_t *answer_devices(struct fake_agent *a)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < a->n_devices; i++)
		if (!a->gone[i])
			json_array_append_new(list, device_json_of(a, i));
	return json_pack("{s:o, s:[]}", "devices", list, "backends");
}

/* NULL with *code: an error. */
static json_t *answer(struct fake_agent *a, const char *op, const json_t *m, int *code, const char **text)
{
	struct fake_lease *l = find_lease(a, json_get_str(m, "lease", "?"));
	*code = SL_ENOTFOUND;
	*text = "no such lease";
	if (a->garbage && strcmp(op, a->garbage_op) == 0)
		return json_loads(a->garbage, 0, NULL);
	if (strcmp(op, "hello") == 0)
		return json_pack("{s:i, s:s, s:s, s:i, s:i, s:s}", "version", 1, "machine", "node1", "boot_id", "b", "pid", 1,
		                 "started_ms", 1, "containment", "processes");
	if (strcmp(op, "devices") == 0)
		return answer_devices(a);
	if (strcmp(op, "list") == 0)
		return answer_list(a);
	if (strcmp(op, "scrub") == 0) {
		*text = "memory still in use";
		return a->scrub_fails ? NULL : json_object();
	}
	if (strcmp(op, "start") == 0) {
		*code = l ? SL_ECONFLICT : a->start_code;
		*text = l ? "known already" : a->start_error;
		return l || a->start_error ? NULL : do_start(a, m);
	}
	if (!l)
		return NULL;
	if (strcmp(op, "logs") == 0)
		return do_logs(l, m);
	if (strcmp(op, "follow") == 0)
		l->followed = true;
	if (strcmp(op, "unfollow") == 0)
		l->followed = false;
	if (strcmp(op, "forget") == 0)
		l->id[0] = '\0';
	if (strcmp(op, "stop") == 0 && strcmp(l->state, "running") == 0)
		snprintf(l->state, sizeof l->state, "stopping");
	return json_object();
}

static void on_message(void *arg, struct frame_connection *c, json_t *m)
{
	struct fake_agent *a = arg;
	const char *op = json_get_str(m, "op", ""), *text;
	int code;
	json_array_append(a->seen, m);
	json_t *ok = answer(a, op, m, &code, &text);
	json_t *reply = ok ? json_pack("{s:O, s:o}", "id", json_object_get(m, "id"), "ok", ok)
	                   : json_pack("{s:O, s:{s:i, s:s}}", "id", json_object_get(m, "id"), "error", "code", code, "text", text);
	if (!(a->deaf && strcmp(op, "start") == 0))
		frame_send(c, reply);
	json_decref(reply);
}

static void on_gone(void *arg, struct frame_connection *c, const sl_error *why)
{
	struct fake_agent *a = arg;
	(void) why;
	if (a->connection == c)
		a->connection = NULL;
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
	static const struct frame_events frame_events = { .message = on_message, .closed = on_gone };
	struct fake_agent *a = poll->data;
	sl_error error;
	(void) events;
	int fd = status == 0 ? accept4(a->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
	if (fd < 0)
		return;
	frame_close(a->connection);
	a->connection = frame_adopt(a->loop, fd, &frame_events, a, &error);
}

void agent_up(struct world *w)
{
	struct fake_agent *a = &w->agent;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof address.sun_path, "%s", a->path);
	unlink(a->path);
	a->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(a->listener, (struct sockaddr *) &address, sizeof address) < 0 || listen(a->listener, 8) < 0)
		abort();
	uv_poll_init(a->loop, &a->poll, a->listener);
	a->poll.data = a;
	uv_poll_start(&a->poll, UV_READABLE, on_accept);
	a->polling = true;
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct fake_agent *a = handle->data;
	close(a->listener);
	a->polling = false;
}

static bool listener_closed(struct world *w, uint64_t arg)
{
	(void) arg;
	return !w->agent.polling;
}

void agent_down(struct world *w)
{
	struct fake_agent *a = &w->agent;
	unlink(a->path);
	frame_close(a->connection);
	a->connection = NULL;
	for (size_t i = 0; i < a->n_leases; i++)
		a->leases[i].followed = false;
	if (a->polling)
		uv_close((uv_handle_t *) &a->poll, on_poll_closed);
	world_until(w, listener_closed, 0);
}

struct fake_lease *agent_lease(struct world *w, uint64_t number)
{
	char id[24];
	snprintf(id, sizeof id, "L%llu", (unsigned long long) number);
	return find_lease(&w->agent, id);
}

static void send_event(struct fake_agent *a, const char *event, json_t *object)
{
	json_object_set_new(object, "event", json_string(event));
	if (a->connection)
		frame_send(a->connection, object);
	json_decref(object);
}

void agent_end(struct world *w, uint64_t number, int exit_code, int signal)
{
	struct fake_lease *l = agent_lease(w, number);
	if (!l)
		return;
	snprintf(l->state, sizeof l->state, "ended");
	l->exit_code = exit_code;
	l->signal = signal;
	if (!l->ended_ms)
		l->ended_ms = (int64_t) clock_wall_ms();
	send_event(&w->agent, "ended", lease_json_of(l));
}

void agent_pause(struct world *w, uint64_t number, const char *state, int64_t run_ms, const char *why)
{
	struct fake_lease *l = agent_lease(w, number);
	snprintf(l->state, sizeof l->state, "%s", state);
	json_t *event = lease_json_of(l);
	json_object_set_new(event, "run_ms", json_integer(run_ms));
	if (why)
		json_object_set_new(event, "error", json_pack("{s:i, s:s}", "code", SL_EUPSTREAM, "text", why));
	send_event(&w->agent, "pause", event);
}

void agent_output(struct world *w, uint64_t number, const char *text)
{
	struct fake_lease *l = agent_lease(w, number);
	size_t len = strlen(text);
	memcpy(l->out + l->out_len, text, len);
	if (l->followed) {
		json_t *event = json_pack("{s:s, s:s, s:I}", "lease", l->id, "source", "out", "from", (json_int_t) l->out_len);
		set_data(event, text, len);
		send_event(&w->agent, "log", event);
	}
	l->out_len += len;
}

void agent_health(struct world *w, unsigned index, const char *health, const char *reason)
{
	snprintf(w->agent.health[index], sizeof w->agent.health[index], "%s", health);
	json_t *device = device_json_of(&w->agent, index);
	json_object_set_new(device, "reason", json_string(reason));
	send_event(&w->agent, "device", device);
}

unsigned agent_asked(struct world *w, const char *op, uint64_t number)
{
	char id[24];
	unsigned n = 0;
	size_t i;
	json_t *m;
	snprintf(id, sizeof id, "L%llu", (unsigned long long) number);
	json_array_foreach(w->agent.seen, i, m)
		n += strcmp(json_get_str(m, "op", ""), op) == 0 && (!number || strcmp(json_get_str(m, "lease", ""), id) == 0);
	return n;
}

/* The world. */
static void commit(struct world *w)
{
	if (w->ledger.holds || w->ledger.committed == w->ledger.seq)
		return;
	w->ledger.committed = w->ledger.seq;
	if (w->pool)
		pool_committed(w->pool, w->ledger.committed);
}

static void on_wake(uv_timer_t *timer)
{
	(void) timer;
}

/* One turn: at most 5 ms of waiting for something to happen. */
static void turn(struct world *w)
{
	uv_timer_t timer;
	uv_timer_init(&w->loop, &timer);
	uv_timer_start(&timer, on_wake, 5, 0);
	uv_run(&w->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *) &timer, NULL);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	commit(w);
}

bool world_until(struct world *w, bool (*ready)(struct world *w, uint64_t arg), uint64_t arg)
{
	uint64_t deadline = clock_mono_ns() + 10000000000ull;
	while (!ready(w, arg)) {
		if (clock_mono_ns() > deadline)
			return false;
		turn(w);
	}
	return true;
}

void world_settle(struct world *w)
{
	for (int i = 0; i < 12; i++)
		turn(w);
}

static const char *wanted_state;

static bool in_state(struct world *w, uint64_t number)
{
	return strcmp(member(w, number, "state"), wanted_state) == 0;
}

bool world_state(struct world *w, uint64_t number, const char *state)
{
	wanted_state = state;
	return world_until(w, in_state, number);
}

static const char *text_of(const json_t *value)
{
	static char text[512];
	if (json_is_string(value))
		snprintf(text, sizeof text, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(text, sizeof text, "%lld", (long long) json_integer_value(value));
	else
		text[0] = '\0';
	return text;
}

const char *member(struct world *w, uint64_t number, const char *key)
{
	json_t *lease = pool_lease(w->pool, number);
	const char *text = text_of(json_object_get(lease, key));
	json_decref(lease);
	return text;
}

const char *device_member(struct world *w, unsigned index, const char *key)
{
	json_t *devices = pool_devices(w->pool);
	const char *text = text_of(json_object_get(json_array_get(devices, index), key));
	json_decref(devices);
	return text;
}

uint64_t submit(struct world *w, const char *name, uint32_t devices)
{
	uint64_t number = 0;
	sl_error error = { 0 };
	json_t *argv = json_pack("[s, s]", "python", "train.py"), *env = json_pack("{s:s}", "SECRET", "x");
	struct pool_request request = { .name = name, .tenant = "physics", .user = "dana", .devices = devices, .argv = argv,
	                                .env = env, .cwd = "/home/dana", .with_stdin = true };
	if (pool_submit(w->pool, &request, &number, &error) != SL_OK)
		number = 0;
	json_decref(argv);
	json_decref(env);
	return number;
}

static bool connected(struct world *w, uint64_t arg)
{
	json_t *agents = pool_agents(w->pool);
	bool ready = strcmp(json_get_str(json_array_get(agents, 0), "state", ""), "ready") == 0;
	json_decref(agents);
	return ready == (arg == 0);
}

void world_open_pool(struct world *w)
{
	sl_error error = { 0 };
	json_t *open = json_array();
	const char *id;
	json_t *record;
	uint64_t last = 0, number;
	json_object_foreach(w->ledger.records, id, record) {
		json_array_append(open, record); /* those that have ended lately are known again */
		if (str_to_u64(str_of(id + 1), UINT32_MAX, &number) && number > last)
			last = number;
	}
	struct pool_options options = { .loop = &w->loop, .conf = &w->conf, .ledger = (struct ledger *) &w->ledger,
	                                .scheduler = w->scheduler ? w->scheduler : sluice_plugin.ops,
	                                .scheduler_self = w->scheduler_self, .devices = w->ledger.objects,
	                                .leases_max = w->leases_max, .quota = w->quota,
	                                .money_limits = w->money_limits, .money_arg = w };
	w->pool = pool_open(&options, open, last, &error);
	if (!w->pool)
		abort();
	json_decref(open);
	if (w->agent.polling)
		world_until(w, connected, 0);
}

void world_close_pool(struct world *w)
{
	pool_close(w->pool);
	w->pool = NULL;
	world_settle(w);
}

void world_restart(struct world *w)
{
	world_close_pool(w);
	world_open_pool(w);
}

struct world *world_new(unsigned n_devices)
{
	struct world *w = calloc(1, sizeof *w);
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&w->loop);
	snprintf(w->folder, sizeof w->folder, "/tmp/sluice-pool-XXXXXX");
	if (!mkdtemp(w->folder))
		abort();
	w->agent.loop = &w->loop;
	w->agent.n_devices = n_devices;
	w->agent.seen = json_array();
	snprintf(w->agent.path, sizeof w->agent.path, "%s/agent.sock", w->folder);
	for (unsigned i = 0; i < 8; i++)
		snprintf(w->agent.health[i], sizeof w->agent.health[i], "ok");
	w->ledger.records = json_object();
	w->ledger.objects = json_object();
	w->ledger.history = json_array();
	w->queues[0] = (struct conf_queue){ .name = "research", .quota = -1, .borrow = -1, .lend = -1,
	                                    .weight = 1, .per_user = -1, .reclaim = true, .preempt = true };
	w->conf.queues = w->queues;
	w->conf.n_queues = 1;
	w->conf.charge_ms = 3600000;
	w->conf.agent = w->agent.path;
	w->conf.state = w->folder;
	if (!w->scheduler_self) {
		sl_error error;
		static const sl_host host = { .size = sizeof host };
		if (sluice_plugin.open(&host, NULL, &w->scheduler_self, &error) != SL_OK)
			abort();
	}
	agent_up(w);
	world_open_pool(w);
	return w;
}

void world_free(struct world *w)
{
	char command[128];
	world_close_pool(w);
	agent_down(w);
	world_settle(w);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	uv_loop_close(&w->loop);
	sluice_plugin.close(w->scheduler_self);
	json_decref(w->agent.seen);
	json_decref(w->ledger.records);
	json_decref(w->ledger.objects);
	json_decref(w->ledger.history);
	snprintf(command, sizeof command, "rm -rf '%s'", w->folder);
	if (system(command) != 0)
		abort();
	free(w);
}
