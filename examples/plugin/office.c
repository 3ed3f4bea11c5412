/* SPDX-License-Identifier: Apache-2.0 */
/* office.c - an auth plugin of your own: callers from one network need no key.
 *
 * It shows options, a check of them, answering "not mine", and counting. Name it before auth/keys:
 *     plugin "auth/office" { network = "10.1.", tenant = "office" }
 *     plugin "auth/keys" {}
 *     plugin "auth/peercred" {}
 * An address is a weak proof: do this only where nobody can come in under a foreign one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/auth.h>

struct office {
	const sl_host *host;
	char network[64]; /* what the address starts with: "10.1." */
	size_t network_len;
	char tenant[SL_NAME_MAX];
};

static const sl_option options[] = {
	{ .name = "network", .type = SL_OPTION_STRING, .flags = SL_OPTION_REQUIRED,
	  .help = "start of the addresses that need no key, with the last dot: \"10.1.\"" },
	{ .name = "tenant", .type = SL_OPTION_STRING, .default_text = "default", .help = "tenant of these callers" },
};

static int refuse(sl_error *error, int code, const char *text)
{
	snprintf(error->text, sizeof error->text, "%s", text);
	return error->code = code;
}

/* Runs before open(), and for `sluiced --check`: no side effects. Names, types and ranges are checked already. */
static int office_check(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	sl_str network = host->conf_str(conf, "network"), tenant = host->conf_str(conf, "tenant");
	if (network.len > 63 || (network.len && network.ptr[network.len - 1] != '.'))
		return refuse(error, SL_EINVAL, "option 'network' must end in a dot and have at most 63 characters");
	if (tenant.len == 0 || tenant.len >= SL_NAME_MAX)
		return refuse(error, SL_EINVAL, "option 'tenant' must have 1 to 63 characters");
	return SL_OK;
}

static int office_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct office *o = calloc(1, sizeof *o);
	if (!o)
		return refuse(error, SL_ENOMEM, "out of memory");
	sl_str network = host->conf_str(conf, "network"), tenant = host->conf_str(conf, "tenant");
	o->host = host;
	o->network_len = network.len;
	memcpy(o->network, network.ptr, network.len); /* check() has looked at the lengths */
	memcpy(o->tenant, tenant.ptr, tenant.len);
	*self = o;
	return SL_OK;
}

/* Called from several threads at once; reads what open() wrote and nothing else. */
static int office_authenticate(void *self, const sl_auth_request *request, sl_token token, sl_identity *out,
                               sl_error *error)
{
	const struct office *o = self;
	(void) token, (void) error; /* answers at once, and never with an error */
	if (request->door != SL_DOOR_INFERENCE || request->authorization.ptr || request->api_key.ptr)
		return SL_NOT_MINE; /* whoever shows a key is asked for it */
	if (request->peer.len < o->network_len || memcmp(request->peer.ptr, o->network, o->network_len) != 0)
		return SL_NOT_MINE;
	memset(out, 0, sizeof *out);
	out->size = sizeof *out;
	out->roles = SL_ROLE_INFER;
	out->uid = out->gid = UINT32_MAX;
	memcpy(out->tenant, o->tenant, sizeof out->tenant);
	o->host->count(o->host, "let_in", 1);
	return SL_OK;
}

static const sl_auth_ops ops = { .size = sizeof ops, .authenticate = office_authenticate };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_AUTH),
	.name = "office",
	.version = "1.0",
	.summary = "callers from one network need no key",
	.options = options,
	.n_options = sizeof options / sizeof options[0],
	.check = office_check,
	.open = office_open,
	.close = free,
	.ops = &ops,
};
