/* SPDX-License-Identifier: Apache-2.0 */
/* plugin.c - the life of an instance: load, check, open, reconfigure, close. */
#include "core/plugin/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/plugin/plugin_private.h"

unsigned plugin_limit_ms = 10000;

void plugin_free(struct plugin *p)
{
	if (!p)
		return;
	plugin_tokens_destroy(&p->tokens);
	pthread_mutex_destroy(&p->events_lock);
	plugin_conf_free(p->conf);
	free(p->ops);
	free(p->path);
	free(p);
}

/* A thread of the plugin may complete a token once more after the end, and must find its host. So what has given out
 * tokens leaves a shell behind, about 4 KiB, in this list. */
static struct plugin *closed;
static pthread_mutex_t closed_lock = PTHREAD_MUTEX_INITIALIZER;

static void leave_shell(struct plugin *p)
{
	plugin_conf_free(p->conf);
	free(p->ops);
	free(p->path);
	p->conf = NULL;
	p->ops = NULL;
	p->path = NULL;
	pthread_mutex_lock(&closed_lock);
	p->next_closed = closed;
	closed = p;
	pthread_mutex_unlock(&closed_lock);
}

bool plugin_load(struct plugin_attempt *a, const struct plugin_services *services, bool lenient, struct plugin **out)
{
	struct plugin *p = calloc(1, sizeof *p);
	if (!p || plugin_tokens_init(&p->tokens) != SL_OK) {
		free(p);
		return plugin_refuse(a, PLUGIN_OPEN, "out of memory");
	}
	pthread_mutex_init(&p->events_lock, NULL);
	atomic_flag_clear(&p->stale_told);
	p->services = services;
	sl_error error;
	if (!plugin_file_check(a) || !plugin_name_check(a) || !plugin_descriptor_load(a, &p->d, &p->ops))
		goto refused;
	p->kind = plugin_kind_of(p->d.kind);
	snprintf(p->label, sizeof p->label, "%s/%s", p->kind->name, a->stem);
	p->path = str_dup(str_of(a->path));
	if (!p->path) {
		plugin_refuse(a, PLUGIN_OPEN, "out of memory");
		goto refused;
	}
	if (plugin_conf_new(&p->d, a->spec->options, lenient, &p->conf, &error) != SL_OK) {
		plugin_refuse(a, PLUGIN_OPTION, "%s", error.text);
		goto refused;
	}
	plugin_host_init(p);
	*out = p;
	return true;
refused:
	plugin_free(p);
	return false;
}

/* What the two threads of plugin_run share. The one that comes second frees it. */
struct run {
	pthread_mutex_t lock;
	pthread_cond_t finished;
	struct plugin *p;
	bool open;      /* open() is wanted too */
	bool opened;    /* open() said SL_OK */
	bool checking;  /* where it is, for the sentence */
	bool done;
	bool abandoned; /* the caller has left: whatever is left is the thread's */
	int code;
	sl_error error;
};

static void run_free(struct run *r)
{
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->finished);
	free(r);
}

static void *run_thread(void *arg)
{
	struct run *r = arg;
	struct plugin *p = r->p;
	int code = p->d.check ? p->d.check(&p->host, p->conf, &r->error) : SL_OK;
	pthread_mutex_lock(&r->lock);
	r->checking = false;
	bool go_on = code == SL_OK && r->open && !r->abandoned;
	pthread_mutex_unlock(&r->lock);
	if (go_on)
		code = p->d.open(&p->host, p->conf, &p->self, &r->error);
	pthread_mutex_lock(&r->lock);
	r->checking = !go_on; /* whose code it is */
	r->opened = go_on && code == SL_OK;
	r->code = code;
	r->done = true;
	bool abandoned = r->abandoned;
	pthread_cond_signal(&r->finished);
	pthread_mutex_unlock(&r->lock);
	if (abandoned) {
		log_warn("plugin %s: came back too late and is ended", p->label);
		if (r->opened)
			p->d.close(p->self);
		plugin_free(p);
		run_free(r);
	}
	return NULL;
}

static struct run *run_new(struct plugin *p, bool open)
{
	struct run *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->finished, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&r->lock, NULL);
	r->p = p;
	r->open = open;
	r->checking = true;
	return r;
}

/* False when the time is over: from then on the thread owns r and its plugin. `late` says what it was in. */
static bool run_wait(struct run *r, const char **late)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	uint64_t ns = (uint64_t) until.tv_nsec + plugin_limit_ms * 1000000ull;
	until.tv_sec += (time_t) (ns / 1000000000);
	until.tv_nsec = (long) (ns % 1000000000);
	pthread_mutex_lock(&r->lock);
	int failed = 0;
	while (!r->done && !failed)
		failed = pthread_cond_timedwait(&r->finished, &r->lock, &until);
	bool done = r->done;
	r->abandoned = !done;
	*late = r->checking ? "check" : "open";
	pthread_mutex_unlock(&r->lock);
	return done;
}

bool plugin_run(struct plugin_attempt *a, struct plugin *p, bool open)
{
	pthread_t thread;
	const char *late;
	struct run *r = run_new(p, open);
	if (!r || pthread_create(&thread, NULL, run_thread, r) != 0) {
		if (r)
			run_free(r);
		plugin_free(p);
		return plugin_refuse(a, PLUGIN_OPEN, "cannot start a thread for its open()");
	}
	if (!run_wait(r, &late)) {
		pthread_detach(thread);
		return plugin_refuse(a, PLUGIN_OPEN, "%s() did not return within %u ms and was abandoned; it must not wait for "
		                     "anything", late, plugin_limit_ms);
	}
	pthread_join(thread, NULL);
	int code = r->code;
	bool checking = r->checking;
	sl_error error = r->error;
	error.text[sizeof error.text - 1] = '\0';
	run_free(r);
	if (code == SL_OK)
		return true;
	plugin_free(p);
	const char *words = error.text[0] ? error.text : "no reason was given";
	if (checking)
		return plugin_refuse(a, PLUGIN_OPTION, "check() says: %s", words);
	return plugin_refuse(a, PLUGIN_OPEN, "open() failed: %s", words);
}

struct plugin *plugin_open(const struct plugin_spec *spec, const struct plugin_services *services,
                           enum plugin_refusal *refusal, sl_error *error)
{
	struct plugin_attempt a;
	struct plugin *p;
	if (!plugin_attempt_init(&a, spec, refusal, error) || !plugin_load(&a, services, false, &p) || !plugin_run(&a, p, true))
		return NULL;
	return p;
}

int plugin_check(const struct plugin_spec *spec, const struct plugin_services *services, enum plugin_refusal *refusal,
                 sl_error *error)
{
	struct plugin_attempt a;
	struct plugin *p;
	sl_error own;
	if (!error)
		error = &own;
	if (!plugin_attempt_init(&a, spec, refusal, error) || !plugin_load(&a, services, false, &p) || !plugin_run(&a, p, false))
		return error->code;
	plugin_free(p);
	return SL_OK;
}

bool plugin_could_take(const struct plugin *p, const json_t *options)
{
	sl_conf *conf;
	sl_error error;
	if (plugin_conf_new(&p->d, options, false, &conf, &error) != SL_OK)
		return false;
	bool could = !plugin_conf_differs(p->conf, conf, !p->d.reconfigure);
	plugin_conf_free(conf);
	return could;
}

uint64_t plugin_caps_of(const struct plugin_spec *spec)
{
	static const struct plugin_services none = { 0 };
	struct plugin_attempt a;
	struct plugin *p;
	sl_error error;
	if (!plugin_attempt_init(&a, spec, NULL, &error) || !plugin_load(&a, &none, true, &p))
		return 0;
	uint64_t caps = p->d.caps;
	plugin_free(p);
	return caps;
}

int plugin_reconfigure(struct plugin *p, const json_t *options, sl_error *error)
{
	sl_conf *conf;
	sl_error why = { 0 };
	int code = plugin_conf_new(&p->d, options, false, &conf, error);
	if (code != SL_OK)
		return error_prefix(error, "plugin %s: ", p->label), code;
	const char *fixed = plugin_conf_differs(p->conf, conf, !p->d.reconfigure);
	if (fixed) {
		code = error_set(error, SL_ENOTSUP, "plugin %s: option '%s' cannot be changed while it runs; restart to change it",
		                 p->label, fixed);
	} else if (plugin_conf_differs(p->conf, conf, true)) {
		code = p->d.check ? p->d.check(&p->host, conf, &why) : SL_OK;
		if (code == SL_OK)
			code = p->d.reconfigure(p->self, conf, &why);
		why.text[sizeof why.text - 1] = '\0';
		if (code == SL_OK) {
			sl_conf *old = p->conf;
			p->conf = conf;
			conf = old;
		} else {
			code = error_set(error, code < 0 ? code : SL_EINVAL, "plugin %s: %s", p->label,
			                 why.text[0] ? why.text : "refused its new options without a reason");
		}
	}
	plugin_conf_free(conf);
	return code;
}

bool plugin_close(struct plugin *p, unsigned wait_ms)
{
	if (!p)
		return true;
	if (!plugin_tokens_wait(&p->tokens, wait_ms)) {
		log_warn("plugin %s still owes %u answers after %u ms: it is left alone and not closed", p->label,
		         plugin_tokens_out(p), wait_ms);
		return false;
	}
	p->d.close(p->self);
	if (plugin_tokens_retire(&p->tokens))
		leave_shell(p);
	else
		plugin_free(p);
	return true;
}

const char *plugin_name(const struct plugin *p)
{
	return p->d.name;
}

uint32_t plugin_kind(const struct plugin *p)
{
	return p->d.kind;
}

const char *plugin_version(const struct plugin *p)
{
	return p->d.version;
}

const char *plugin_path(const struct plugin *p)
{
	return p->path;
}

uint64_t plugin_caps(const struct plugin *p)
{
	return p->d.caps;
}

const void *plugin_ops(const struct plugin *p)
{
	return p->ops;
}

void *plugin_self(const struct plugin *p)
{
	return p->self;
}
