/* SPDX-License-Identifier: Apache-2.0 */
/* old.c - a plugin as it was written for ABI 1.0, built from the headers of 1.0 beside it and nothing else. It must
 * load in every later 1.x. Neither it nor the headers are ever edited once 1.0 is released. */
#include <stdlib.h>
#include <string.h>
#include <sluice/auth.h>
#include <sluice/backend.h>
#include <sluice/launcher.h>
#include <sluice/scheduler.h>
#include <sluice/store.h>

_Static_assert(SL_ABI_MAJOR == 1 && SL_ABI_MINOR == 0, "these are not the headers of 1.0");

static const sl_option options[] = {
	{ .name = "tenant", .type = SL_OPTION_STRING, .default_text = "old", .help = "whom everybody is" },
};

struct old {
	const sl_host *host;
	char tenant[SL_NAME_MAX];
};

static int authenticate(void *self, const sl_auth_request *request, sl_token token, sl_identity *out, sl_error *error)
{
	struct old *o = self;
	(void) request, (void) token, (void) error;
	memset(out, 0, sizeof *out);
	out->size = sizeof *out;
	out->roles = SL_ROLE_INFER;
	memcpy(out->tenant, o->tenant, sizeof out->tenant);
	o->host->count(o->host, "asked", 1);
	return SL_OK;
}

static int open_old(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct old *o = calloc(1, sizeof *o);
	if (!o)
		return error->code = SL_ENOMEM;
	sl_str tenant = host->conf_str(conf, "tenant");
	o->host = host;
	memcpy(o->tenant, tenant.ptr, tenant.len < SL_NAME_MAX ? tenant.len : SL_NAME_MAX - 1);
	*self = o;
	return SL_OK;
}

static const sl_auth_ops ops = { .size = sizeof ops, .authenticate = authenticate };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_AUTH),
	.name = "old",
	.version = "1.0",
	.summary = "built for ABI 1.0",
	.options = options,
	.n_options = 1,
	.open = open_old,
	.close = free,
	.ops = &ops,
};
