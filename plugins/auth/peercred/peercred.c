/* SPDX-License-Identifier: Apache-2.0 */
/* peercred.c - callers on the control socket, by the user that the kernel says they are. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sluice/auth.h>

enum { PASSWD_ROOM = 16384 };

struct peercred {
	const sl_host *host;
	uint32_t own_uid;
	int lease_for_others; /* users that the configuration does not name may ask for leases */
	char tenant[SL_NAME_MAX];
};

static int refuse(sl_error *error, int code, const char *text)
{
	error->code = code;
	snprintf(error->text, sizeof error->text, "%s", text);
	return code;
}

/* The user's name, or its number where there is none. May ask a directory service; the control door can wait. */
static void user_name(uint32_t uid, char out[SL_NAME_MAX])
{
	struct passwd entry, *found = NULL;
	char room[PASSWD_ROOM];
	if (getpwuid_r(uid, &entry, room, sizeof room, &found) == 0 && found && strlen(entry.pw_name) < SL_NAME_MAX)
		snprintf(out, SL_NAME_MAX, "%s", entry.pw_name);
	else
		snprintf(out, SL_NAME_MAX, "uid-%u", uid);
}

static int peercred_authenticate(void *self, const sl_auth_request *request, sl_token token, sl_identity *out,
                                 sl_error *error)
{
	const struct peercred *p = self;
	uint32_t uid = request->peer_uid;
	(void) token; /* always answers at once */
	if (request->door != SL_DOOR_CONTROL || !request->has_peercred)
		return SL_NOT_MINE;

	sl_identity found = { .size = sizeof found };
	int code = p->host->user_find(p->host, uid, request->peer_gid, &found, error);
	if (code != SL_OK && code != SL_NOT_MINE)
		return code;
	int operator = uid == 0 || uid == p->own_uid;
	if (code == SL_NOT_MINE && !operator && !p->lease_for_others)
		return refuse(error, SL_EDENIED, "This user may not use the control socket; an operator can add it to a tenant.");
	if (code == SL_NOT_MINE) {
		memset(&found, 0, sizeof found);
		memcpy(found.tenant, p->tenant, sizeof found.tenant);
		found.roles = SL_ROLE_LEASE;
	}
	if (operator)
		found.roles |= SL_ROLE_OPERATOR | SL_ROLE_ADMIN | SL_ROLE_LEASE;
	if (!found.user[0])
		user_name(uid, found.user);
	found.size = sizeof found;
	found.uid = uid;
	found.gid = request->peer_gid;
	*out = found;
	return SL_OK;
}

static int peercred_check(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	sl_str tenant = host->conf_str(conf, "tenant");
	if (tenant.len > 0 && tenant.len < SL_NAME_MAX)
		return SL_OK;
	return refuse(error, SL_EINVAL, "option 'tenant' must have 1 to 63 characters");
}

static int peercred_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct peercred *p = calloc(1, sizeof *p);
	if (!p)
		return refuse(error, SL_ENOMEM, "out of memory");
	sl_str tenant = host->conf_str(conf, "tenant"), others = host->conf_str(conf, "others");
	p->host = host;
	/* The user of a service that root started is no person: what runs as it has nothing to administer. */
	p->own_uid = getenv("SLUICE_STARTED_AS_ROOT") ? 0 : geteuid();
	p->lease_for_others = others.len == 5 && memcmp(others.ptr, "lease", 5) == 0;
	memcpy(p->tenant, tenant.ptr, tenant.len);
	*self = p;
	return SL_OK;
}

static void peercred_close(void *self)
{
	free(self);
}

static const sl_option options[] = {
	{ .name = "tenant", .type = SL_OPTION_STRING, .default_text = "default",
	  .help = "tenant of root, of the daemon's user and of users that no tenant names" },
	{ .name = "others", .type = SL_OPTION_ENUM, .default_text = "lease", .values = "lease|deny",
	  .help = "what users that no tenant names may do: ask for leases, or nothing" },
};

static const sl_auth_ops ops = { .size = sizeof ops, .authenticate = peercred_authenticate };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_AUTH),
	.name = "peercred",
	.version = "1.0",
	.summary = "the caller of a Unix socket, as the kernel names it",
	.options = options,
	.n_options = sizeof options / sizeof options[0],
	.check = peercred_check,
	.open = peercred_open,
	.close = peercred_close,
	.ops = &ops,
};
