/* SPDX-License-Identifier: Apache-2.0 */
/* answers.c - an auth plugin that answers as the Authorization header tells it: later, twice, too short, never. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/auth.h>

struct job {
	const sl_host *host;
	sl_token token;
	char how[16];
};

static void *answer(void *arg)
{
	struct job *job = arg;
	sl_identity who = { .size = sizeof who, .roles = SL_ROLE_INFER, .tenant = "late" };
	const sl_host *host = job->host;
	if (strcmp(job->how, "short") == 0) {
		host->token_done(host, job->token, &who, 4);
	} else if (strcmp(job->how, "nothing") == 0) {
		host->token_done(host, job->token, NULL, 0);
	} else if (strcmp(job->how, "fail") == 0) {
		sl_error error = { .code = SL_EDENIED, .text = "not today" };
		host->token_fail(host, job->token, &error);
	} else {
		host->token_done(host, job->token, &who, sizeof who);
		if (strcmp(job->how, "twice") == 0 && host->token_done(host, job->token, &who, sizeof who) != SL_ESTALE)
			abort();
	}
	free(job);
	return NULL;
}

static int authenticate(void *self, const sl_auth_request *request, sl_token token, sl_identity *out, sl_error *error)
{
	(void) out, (void) error;
	struct job *job = calloc(1, sizeof *job);
	pthread_t thread;
	if (!job)
		return SL_ENOMEM;
	job->host = self;
	job->token = token;
	snprintf(job->how, sizeof job->how, "%.*s", (int) request->authorization.len, request->authorization.ptr);
	if (strcmp(job->how, "never") == 0) {
		free(job);
		return SL_PENDING;
	}
	if (strcmp(job->how, "now") == 0) {
		answer(job);
		return SL_PENDING;
	}
	if (pthread_create(&thread, NULL, answer, job) != 0)
		abort();
	pthread_detach(thread);
	return SL_PENDING;
}

static int open_it(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) conf, (void) error;
	*self = (void *) host;
	return SL_OK;
}

static void close_it(void *self)
{
	(void) self;
}

static const sl_auth_ops ops = { .size = sizeof ops, .authenticate = authenticate };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_AUTH),
	.name = "answers",
	.version = "1.0",
	.summary = "answers as it is told",
	.open = open_it,
	.close = close_it,
	.ops = &ops,
};
