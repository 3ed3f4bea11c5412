/* SPDX-License-Identifier: Apache-2.0 */
/* fakes.c - the rooms around the fleet, played by the test. */
#include "tests/unit/fleet/fakes.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/http/client.h"

struct fakes fake;

struct pool_watch {
	void (*event)(void *arg, const struct pool_event *);
	void *arg;
	struct fake_lease *lease;
};

void fake_setup(uv_loop_t *loop)
{
	fake = (struct fakes){ .loop = loop, .command = "serve", .health_status = 200, .leases_run = true, .wanted_by_waiting = true };
	fake.engine = (struct conf_engine){ .name = "llamacpp", .health_path = "/health", .unix_socket = true, .can_start = true };
	fake.model = (struct conf_model){
		.name = "tiny", .engine = "llamacpp", .options = json_object(), .gpus = 1, .queue = "models", .replicas_max = 2,
		.concurrency = 4, .waiting_max = 8, .idle_ms = 60000, .start_ms = 60000, .drain_ms = 60000,
		.price = { .input = 100000, .cached = 20000, .output = 400000 },
	};
	fake.conf = (struct conf){ .models = &fake.model, .n_models = 1, .engines = &fake.engine, .n_engines = 1 };
}

void fake_teardown(void)
{
	json_decref(fake.model.options);
	json_decref(fake.adopt);
}

/* configuration and policy */

struct conf *conf_ref(struct conf *conf)
{
	atomic_fetch_add(&conf->refs, 1);
	return conf;
}

void conf_unref(struct conf *conf)
{
	if (conf)
		atomic_fetch_sub(&conf->refs, 1);
}

const struct conf_model *conf_model(const struct conf *conf, sl_str name)
{
	for (size_t i = 0; i < conf->n_models; i++)
		if (str_eq(str_of(conf->models[i].name), name))
			return &conf->models[i];
	return NULL;
}

const struct conf_engine *conf_engine(const struct conf *conf, sl_str name)
{
	for (size_t i = 0; i < conf->n_engines; i++)
		if (str_eq(str_of(conf->engines[i].name), name))
			return &conf->engines[i];
	return NULL;
}

int conf_engine_command(const struct conf *conf, const struct conf_model *model, const char *replica, const char *listen,
                        json_t **argv, json_t **env, sl_error *error)
{
	(void) conf;
	(void) model;
	(void) replica;
	if (fake.command_fails)
		return error_set(error, SL_EINVAL, "engines/llamacpp.lua:7: weights are missing");
	*argv = json_pack("[s, s, s]", "llama-server", fake.command, listen);
	*env = json_pack("{s:s}", "OMP_NUM_THREADS", "1");
	return SL_OK;
}

int policy_scale(struct policy *p, const struct conf_model *model, const struct policy_signals *signals, int *wanted,
                 sl_error *error)
{
	(void) p;
	if (fake.wanted_by_waiting)
		*wanted = signals->idle_ms < model->idle_ms ? 1 : 0;
	else if (fake.wanted < 0)
		return error_set(error, SL_EINTERNAL, "policy.lua:3: boom");
	else
		*wanted = fake.wanted;
	return SL_OK;
}

/* addresses and engines */

int http_address_parse(sl_str text, struct http_address *out, sl_error *error)
{
	*out = (struct http_address){ 0 };
	if (!text.len)
		return error_set(error, SL_EINVAL, "an address is missing");
	str_copy(out->host, sizeof out->host, text);
	return SL_OK;
}

void http_address_text(const struct http_address *address, char *out, size_t room)
{
	snprintf(out, room, "%s", address->host);
}

struct http_client_request {
	uv_timer_t timer;
	http_client_done done;
	void *arg;
};

static void free_timer(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_answer(uv_timer_t *timer)
{
	struct http_client_request *request = timer->data;
	uv_close((uv_handle_t *) timer, free_timer);
	request->done(request->arg, fake.health_status, (sl_str){ 0 }, fake.health_status ? NULL : "connection refused");
}

struct http_client_request *http_client_send(uv_loop_t *loop, const struct http_address *address, const char *method,
                                             const char *path, const char *type, sl_str body, uint64_t timeout_ms,
                                             http_client_done done, void *arg)
{
	(void) address;
	(void) method;
	(void) path;
	(void) type;
	(void) body;
	(void) timeout_ms;
	struct http_client_request *request = calloc(1, sizeof *request);
	fake.health_calls++;
	request->done = done;
	request->arg = arg;
	uv_timer_init(loop, &request->timer);
	request->timer.data = request;
	uv_timer_start(&request->timer, on_answer, 1, 0);
	return request;
}

void http_client_cancel(struct http_client_request *request)
{
	uv_close((uv_handle_t *) &request->timer, free_timer);
}

/* the pool */

static json_t *lease_json(const struct fake_lease *l, int exit_code, int signal)
{
	return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:[s]}", "lease",
	                 json_sprintf("L%llu", (unsigned long long) l->number), "name", l->name, "holder", "replica", "model", l->model,
	                 "replica", l->name, "state", l->state, "exit_code", exit_code, "signal", signal, "where", "node1/gpu0");
}

static void tell(struct fake_lease *lease, int exit_code, int signal, bool end)
{
	struct pool_watch *watch = lease->watch;
	if (!watch)
		return;
	json_t *json = lease_json(lease, exit_code, signal);
	struct pool_event event = { .lease = json, .end = end };
	watch->event(watch->arg, &event);
	json_decref(json);
}

void fake_run(struct fake_lease *lease)
{
	strcpy(lease->state, "running");
	tell(lease, -1, 0, false);
}

void fake_end(struct fake_lease *lease, int exit_code, int signal)
{
	strcpy(lease->state, "ended");
	lease->ended = true;
	tell(lease, exit_code, signal, true);
}

static struct fake_lease *find_lease(uint64_t number)
{
	for (unsigned i = 0; i < fake.n_leases; i++)
		if (fake.leases[i].number == number)
			return &fake.leases[i];
	return NULL;
}

int pool_submit(struct pool *pool, const struct pool_request *request, uint64_t *number, sl_error *error)
{
	(void) pool;
	if (fake.submit_fails || fake.n_leases == FAKE_LEASES)
		return error_set(error, SL_EINVAL, "1 GPU can never fit: there is none");
	struct fake_lease *l = &fake.leases[fake.n_leases++];
	*l = (struct fake_lease){ .number = *number = 1000 + fake.n_leases };
	snprintf(l->name, sizeof l->name, "%s", request->name);
	snprintf(l->model, sizeof l->model, "%s", request->model);
	snprintf(l->listen, sizeof l->listen, "%s", json_get_str(request->env, "SLUICE_LISTEN", ""));
	strcpy(l->state, "queued");
	return SL_OK;
}

int pool_release(struct pool *pool, uint64_t number, uint64_t notice_ms, const char *reason, sl_error *error)
{
	(void) pool;
	(void) notice_ms;
	(void) reason;
	struct fake_lease *l = find_lease(number);
	if (!l || l->ended)
		return error_set(error, SL_ENOTFOUND, "no such lease");
	l->released = true;
	return SL_OK;
}

static void on_run(uv_timer_t *timer)
{
	struct fake_lease *l = timer->data;
	uv_close((uv_handle_t *) timer, (uv_close_cb) free);
	if (!l->ended && !l->released)
		fake_run(l);
}

int pool_listens(struct pool *pool, uint64_t number, unsigned port, void (*done)(void *arg, int code, bool own), void *arg,
                 sl_error *error)
{
	(void) pool;
	(void) port;
	(void) error;
	struct fake_lease *l = find_lease(number);
	done(arg, fake.listens_code, l && !l->ended && !fake.stranger);
	return SL_OK;
}

struct pool_watch *pool_watch(struct pool *pool, uint64_t number, bool logs, int64_t out_from, int64_t err_from,
                              void (*event)(void *arg, const struct pool_event *), void *arg)
{
	(void) pool;
	(void) logs;
	(void) out_from;
	(void) err_from;
	struct fake_lease *l = find_lease(number);
	if (!l)
		return NULL;
	struct pool_watch *watch = calloc(1, sizeof *watch);
	watch->event = event;
	watch->arg = arg;
	watch->lease = l;
	l->watch = watch;
	if (fake.leases_run) {
		uv_timer_t *timer = malloc(sizeof *timer);
		uv_timer_init(fake.loop, timer);
		timer->data = l;
		uv_timer_start(timer, on_run, 1, 0);
	}
	return watch;
}

void pool_unwatch(struct pool_watch *watch)
{
	if (watch->lease->watch == watch)
		watch->lease->watch = NULL;
	free(watch);
}

int pool_logs(struct pool *pool, uint64_t number, const char *source, int64_t from, size_t max,
              void (*done)(void *arg, const char *data, size_t len, uint64_t from, uint64_t next), void *arg, sl_error *error)
{
	(void) pool;
	(void) number;
	(void) source;
	(void) from;
	(void) max;
	if (!fake.log)
		return error_set(error, SL_EUNAVAILABLE, "no agent");
	done(arg, fake.log, strlen(fake.log), 0, strlen(fake.log));
	return SL_OK;
}

json_t *pool_leases(struct pool *pool)
{
	(void) pool;
	return fake.adopt ? json_incref(fake.adopt) : json_array();
}
