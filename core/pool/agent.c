/* SPDX-License-Identifier: Apache-2.0 */
/* agent.c - the connection to an agent: requests and their answers, events, and coming back to one that was away.
 *
 * On each connection: hello, devices, list; once leases are matched with that list the agent is `ready`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

struct call {
	struct call *next;
	uint64_t id, arg;
	agent_done done;
	int64_t sent_mono_ms;
};

static void plan_connect(struct agent *agent, uint64_t wait_ms);

/* Fails what has no answer. done() may make new calls only once there is a connection again. */
static void fail_calls(struct agent *agent, const char *why)
{
	sl_error error = { 0 };
	error_set(&error, SL_EUNAVAILABLE, "the agent is away: %s", why);
	struct call *calls = agent->calls;
	agent->calls = NULL;
	agent->n_calls = 0;
	for (struct call *call = calls, *next; call; call = next) {
		next = call->next;
		if (call->done)
			call->done(agent->pool, call->arg, NULL, &error);
		free(call);
	}
}

/* Once until it is there again: it is tried several times a second. */
static void complain(struct agent *agent)
{
	if (!agent->complained)
		log_warn("no agent at %s: %s; %s", agent->path, agent->why, agent_remedy(agent));
	agent->complained = true;
}

int64_t agent_start_wait_ms(unsigned starts)
{
	int64_t wait = AGENT_START_MS;
	for (unsigned i = 0; i < starts && wait < AGENT_START_MAX_MS; i++)
		wait *= 2;
	return wait < AGENT_START_MAX_MS ? wait : AGENT_START_MAX_MS;
}

const char *agent_remedy(const struct agent *agent)
{
	if (!agent->pool->conf->start_agent)
		return "agent.start is false, so sluiced does not start it: start it, as with systemctl start sluice-agent";
	if (!agent->pool->agent_program)
		return "sluiced has given up root's rights and cannot start it again: restart sluiced as root, or start sluice-agent";
	return "sluiced starts it again";
}

bool pool_agent_outdated(const struct pool *pool, char *out, size_t room)
{
	const struct agent *agent = &pool->agent;
	char mark[JSON_MARK_MAX];
	start_mark(pool->conf, mark);
	if (!agent->connection || !agent->plugins[0] || !mark[0] || strcmp(mark, agent->plugins) == 0)
		return false;
	bool declared = pool->conf->start_agent; /* else its own configuration says it, and this one may be silent */
	for (size_t i = 0; i < pool->conf->n_plugins; i++)
		declared = declared || strcmp(pool->conf->plugins[i].kind, "backend") == 0;
	if (!declared)
		return false;
	const char *remedy = !pool->conf->start_agent
		? "agent.start is false: they are what its own configuration says. Change them there and restart it, as with systemctl "
		  "restart sluice-agent; its leases go on"
		: pool->agent_program ? "end it when it suits you: its leases go on, and sluiced starts it again with those declared now"
		                      : "end it when it suits you, its leases go on, and restart sluiced as root, which starts it with "
		                        "those declared now";
	snprintf(out, room, "the agent (process %lld) still runs other backends, launcher or options of them than are declared: %s",
	         (long long) agent->pid, remedy);
	return true;
}

/* It was ready. Whoever else may start it again, such as a service manager, has a moment for that; one that does not
 * live long is started less and less often. */
static void plan_start(struct agent *agent)
{
	int64_t now = pool_now().mono_ms;
	if (now - agent->ready_mono_ms >= AGENT_START_MAX_MS)
		agent->starts = 0;
	if (agent->start_mono_ms < now + AGENT_START_MS)
		agent->start_mono_ms = now + AGENT_START_MS;
}

static void gone(struct agent *agent, const char *why)
{
	bool was_ready = agent->ready;
	agent->connection = NULL;
	agent->ready = agent->sampling = false;
	str_copy(agent->why, sizeof agent->why, str_of(why));
	if (was_ready) {
		agent->away_ms = pool_now().wall_ms;
		log_warn("agent %s is away: %s; %s", agent->machine, why, agent_remedy(agent));
		plan_start(agent);
		settle_away(agent);
	} else {
		complain(agent);
	}
	fail_calls(agent, why);
	if (was_ready)
		watch_disconnected(agent->pool);
}

void agent_drop(struct agent *agent, const char *why)
{
	if (!agent->connection)
		return;
	char copy[SL_ERROR_TEXT];
	snprintf(copy, sizeof copy, "%s", why);
	frame_close(agent->connection);
	gone(agent, copy);
	plan_connect(agent, AGENT_BACKOFF_MS);
}

static void on_closed(void *arg, struct frame_connection *connection, const sl_error *why)
{
	struct agent *agent = arg;
	if (connection != agent->connection)
		return;
	gone(agent, why->text);
	plan_connect(agent, AGENT_BACKOFF_MS);
}

static void take_answer(struct agent *agent, const json_t *message)
{
	uint64_t id = (uint64_t) json_get_int(message, "id", 0);
	struct call **link = &agent->calls;
	while (*link && (*link)->id != id)
		link = &(*link)->next;
	struct call *call = *link;
	if (!call)
		return;
	*link = call->next;
	agent->n_calls--;
	const json_t *ok = json_object_get(message, "ok"), *failure = json_object_get(message, "error");
	sl_error error = { 0 };
	if (!json_is_object(ok)) {
		int64_t code = json_get_int(failure, "code", SL_EUPSTREAM);
		ok = NULL;
		error_set(&error, code < 0 && code > -1000 ? (int) code : SL_EUPSTREAM, "%s",
		          json_get_str(failure, "text", "the agent's answer was neither ok nor error"));
	}
	if (call->done)
		call->done(agent->pool, call->arg, ok, &error);
	free(call);
}

static void on_pause(struct pool *pool, const json_t *message)
{
	struct job *job = pool_job(pool, lease_number(str_of(json_get_str(message, "lease", ""))));
	if (job)
		pause_told(pool, job, message);
}

static void on_message(void *arg, struct frame_connection *connection, json_t *message)
{
	struct agent *agent = arg;
	if (connection != agent->connection)
		return;
	agent->heard_mono_ms = pool_now().mono_ms;
	const char *event = json_get_str(message, "event", NULL);
	if (!event)
		take_answer(agent, message);
	else if (!agent->ready)
		return; /* `list` follows and knows it all */
	else if (strcmp(event, "ended") == 0)
		settle_ended(agent, message);
	else if (strcmp(event, "pause") == 0)
		on_pause(agent->pool, message);
	else if (strcmp(event, "log") == 0)
		watch_log(agent->pool, message);
	else if (strcmp(event, "device") == 0)
		settle_device(agent, message);
}

int agent_call(struct agent *agent, const char *op, json_t *request, agent_done done, uint64_t arg, sl_error *error)
{
	int code = SL_EUNAVAILABLE;
	struct call *call = NULL;
	if (!agent->connection) {
		error_set(error, code, "the agent is away: %s", agent->why);
	} else if (agent->n_calls >= AGENT_CALLS_MAX) {
		error_set(error, code = SL_EAGAIN, "%d requests to the agent have no answer yet: try again", AGENT_CALLS_MAX);
	} else if (!request || !(call = malloc(sizeof *call))) {
		error_set(error, code = SL_ENOMEM, "out of memory for a request to the agent");
	} else {
		*call = (struct call){ agent->calls, ++agent->last_id, arg, done, pool_now().mono_ms };
		json_object_set_new(request, "id", json_integer((json_int_t) call->id));
		json_object_set_new(request, "op", json_string(op));
		code = frame_send(agent->connection, request);
		if (code == SL_OK) {
			agent->calls = call;
			agent->n_calls++;
			call = NULL;
		} else {
			error_set(error, code, code == SL_EINVAL ? "the request to the agent is too long"
			                                         : "the agent does not read what it is sent");
		}
	}
	free(call);
	json_decref(request);
	return code;
}

static void on_list(struct pool *pool, uint64_t arg, const json_t *ok, const sl_error *error)
{
	struct agent *agent = &pool->agent;
	(void) arg;
	if (!ok) {
		agent_drop(agent, error->text);
		return;
	}
	agent->ready = true;
	agent->ready_mono_ms = pool_now().mono_ms;
	agent->complained = false;
	agent->away_ms = 0;
	agent->why[0] = '\0';
	agent->backoff_ms = 0;
	log_info("agent %s is there: containment %s", agent->machine, agent->containment);
	char outdated[512];
	if (pool_agent_outdated(pool, outdated, sizeof outdated))
		log_warn("%s", outdated);
	settle_list(agent, json_object_get(ok, "leases"));
	watch_connected(pool);
	round_want(pool);
}

static void on_devices(struct pool *pool, uint64_t first, const json_t *ok, const sl_error *error)
{
	struct agent *agent = &pool->agent;
	sl_error why = { 0 };
	agent->sampling = false;
	if (!ok) {
		if (first)
			agent_drop(agent, error->text);
		return;
	}
	json_decref(agent->backends);
	agent->backends = json_incref(json_object_get(ok, "backends"));
	settle_devices(agent, json_object_get(ok, "devices"));
	if (first && agent_call(agent, "list", json_object(), on_list, 0, &why) != SL_OK)
		agent_drop(agent, why.text);
}

static void on_hello(struct pool *pool, uint64_t arg, const json_t *ok, const sl_error *error)
{
	struct agent *agent = &pool->agent;
	sl_error why = { 0 };
	(void) arg;
	if (!ok) {
		agent_drop(agent, error->text);
		return;
	}
	if (json_get_int(ok, "version", 0) != 1 || !json_get_str(ok, "machine", "")[0]) {
		agent_drop(agent, "it speaks another version of the protocol than 1, or has no machine name: install the same release");
		return;
	}
	str_copy(agent->machine, sizeof agent->machine, str_of(json_get_str(ok, "machine", "")));
	str_copy(agent->boot_id, sizeof agent->boot_id, str_of(json_get_str(ok, "boot_id", "")));
	str_copy(agent->containment, sizeof agent->containment, str_of(json_get_str(ok, "containment", "unknown")));
	str_copy(agent->plugins, sizeof agent->plugins, str_of(json_get_str(ok, "plugins", "")));
	agent->pid = json_get_int(ok, "pid", 0);
	if (agent_call(agent, "devices", json_object(), on_devices, 1, &why) != SL_OK)
		agent_drop(agent, why.text);
}

static void start_program(struct agent *agent)
{
	struct pool *pool = agent->pool;
	int64_t now = pool_now().mono_ms;
	sl_error error = { 0 };
	if (!pool->agent_program || !pool->conf->start_agent)
		return;
	if (now < agent->start_mono_ms)
		return;
	agent->start_mono_ms = now + agent_start_wait_ms(agent->starts++);
	log_info("no agent answers at %s: starting %s", agent->path, pool->agent_program);
	if (start_spawn(pool->conf, pool->agent_program, geteuid(), &error) != SL_OK)
		log_error("%s", error.text);
}

static void connect_now(uv_timer_t *timer)
{
	static const struct frame_events events = { .message = on_message, .closed = on_closed };
	struct agent *agent = timer->data;
	sl_error error = { 0 };
	if (agent->connection)
		return;
	agent->connection = frame_connect(agent->pool->loop, agent->path, &events, agent, &error);
	if (!agent->connection) {
		str_copy(agent->why, sizeof agent->why, str_of(error.text));
		start_program(agent);
		complain(agent);
		plan_connect(agent, AGENT_BACKOFF_MS);
		return;
	}
	agent->heard_mono_ms = pool_now().mono_ms;
	if (agent_call(agent, "hello", json_pack("{s:i}", "version", 1), on_hello, 0, &error) != SL_OK)
		agent_drop(agent, error.text);
}

/* Twice as long each time until it is ready once more. */
static void plan_connect(struct agent *agent, uint64_t wait_ms)
{
	if (agent->pool->closing)
		return;
	agent->backoff_ms = agent->backoff_ms ? 2 * agent->backoff_ms : wait_ms;
	if (agent->backoff_ms > AGENT_BACKOFF_MAX_MS)
		agent->backoff_ms = AGENT_BACKOFF_MAX_MS;
	uv_timer_start(&agent->again, connect_now, agent->backoff_ms, 0);
}

void agent_open(struct agent *agent, struct pool *pool)
{
	agent->pool = pool;
	agent->away_ms = pool_now().wall_ms;
	str_copy(agent->path, sizeof agent->path, str_of(pool->conf->agent));
	str_copy(agent->why, sizeof agent->why, STR("not connected yet"));
	agent->again.data = agent;
	connect_now(&agent->again);
}

void agent_tick(struct agent *agent, struct lease_now now)
{
	const struct call *oldest = agent->calls;
	while (oldest && oldest->next)
		oldest = oldest->next;
	if (oldest && now.mono_ms - oldest->sent_mono_ms > AGENT_ANSWER_MS) {
		agent_drop(agent, "it did not answer a request for a minute");
		return;
	}
	if (!agent->ready || agent->sampling || now.mono_ms - agent->sample_mono_ms < POOL_SAMPLE_MS)
		return;
	agent->sample_mono_ms = now.mono_ms;
	agent->sampling = agent_call(agent, "devices", json_object(), on_devices, 0, NULL) == SL_OK;
}

void agent_close(struct agent *agent)
{
	frame_close(agent->connection);
	agent->connection = NULL;
	agent->ready = false;
	fail_calls(agent, "the pool is closing");
	json_decref(agent->backends);
	agent->backends = NULL;
}

static json_t *with_lease(uint64_t number)
{
	char id[LEASE_ID_MAX];
	lease_id(number, id);
	return json_pack("{s:s}", "lease", id);
}

static json_t *start_request(const struct lease *lease, int64_t hold_ms)
{
	json_t *request = with_lease(lease->number), *devices = json_array();
	for (uint32_t i = 0; i < lease->n_places; i++)
		json_array_append_new(devices, json_string(lease->places[i].uuid));
	json_object_set_new(request, "devices", devices);
	json_object_set(request, "argv", lease->argv);
	json_t *env = lease->env ? json_copy(lease->env) : json_object();
	json_object_set(env, "SLUICE_LEASE", json_object_get(request, "lease"));
	json_object_set_new(request, "env", env);
	json_set_str(request, "cwd", str_of(lease->cwd ? lease->cwd : "/"));
	json_object_set_new(request, "uid", json_integer(lease->uid));
	json_object_set_new(request, "gid", json_integer(lease->gid));
	/* An engine's socket is for its group too, and for nobody else. */
	if (lease->model[0])
		json_object_set_new(request, "umask", json_integer(007));
	json_object_set_new(request, "stdin", json_boolean(lease->with_stdin));
	json_object_set_new(request, "log_bytes", json_integer(POOL_LOG_BYTES));
	json_object_set_new(request, "limit_ms", json_integer((json_int_t) lease->time_ms));
	json_object_set_new(request, "notice_ms", json_integer(POOL_NOTICE_MS));
	if (hold_ms)
		json_object_set_new(request, "hold_ms", json_integer((json_int_t) hold_ms));
	return request;
}

void agent_start(struct pool *pool, struct job *job)
{
	if (!pool->agent.ready || job->start_sent)
		return;
	if (agent_call(&pool->agent, "start", start_request(&job->lease, pace_start(pool, job)), settle_started, job->lease.number, NULL) != SL_OK)
		return;
	job->start_sent = job->known_to_agent = true;
	if (job->lease.state == LEASE_GRANTED)
		change_fact(pool, job, LEASE_PREPARED, "the agent was asked to start it");
}

static void on_stopped(struct pool *pool, uint64_t number, const json_t *ok, const sl_error *error)
{
	struct job *job = pool_job(pool, number);
	if (ok || !job || job->lease.state != LEASE_RELEASING || error->code == SL_EUNAVAILABLE)
		return;
	log_warn("L%llu cannot be stopped: %s", (unsigned long long) number, error->text);
	if (error->code == SL_ENOTFOUND)
		change_fact(pool, job, job->lease.final ? job->lease.final : LEASE_ENDED, "the agent does not know it any more");
	else
		job->stop_sent = false; /* the next tick tries again */
}

void agent_stop(struct pool *pool, uint64_t number, uint64_t notice_ms, const char *reason)
{
	json_t *request = with_lease(number);
	json_object_set_new(request, "notice_ms", json_integer((json_int_t) notice_ms));
	json_set_str(request, "reason", str_of(reason));
	agent_call(&pool->agent, "stop", request, on_stopped, number, NULL);
}

void agent_forget(struct pool *pool, uint64_t number)
{
	agent_call(&pool->agent, "forget", with_lease(number), NULL, 0, NULL);
}
