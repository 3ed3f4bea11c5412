/* SPDX-License-Identifier: Apache-2.0 */
/* privileges.c - what only root may do, done before anything listens; then root is given up for good. */
#define _GNU_SOURCE /* setresuid */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/daemon/daemon.h"

/* Makes a folder and those above it. */
static int make_folder(const char *path, mode_t mode, uid_t uid, gid_t gid, sl_error *error)
{
	int made = path_make_folders(path, mode);
	if (made < 0)
		return error_set(error, SL_EIO, "cannot make the folder %s: %s", path, strerror(-made));
	if (made && geteuid() == 0 && chown(path, uid, gid) != 0)
		return error_set(error, SL_EIO, "cannot give the folder %s to the service's user: %s", path, strerror(errno));
	return SL_OK;
}

static int make_parent(const char *file, uid_t uid, gid_t gid, sl_error *error)
{
	char folder[4096];
	str_copy(folder, sizeof folder, str_of(file));
	char *slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return SL_OK;
	*slash = '\0';
	return make_folder(folder, 0755, uid, gid, error);
}

/* The user to serve as. Engines get another one: whoever has ours may write the ledger, administer, and have the agent
 * start anything. */
static int find_user(struct daemon *d, uid_t *uid, gid_t *gid, const char **name, sl_error *error)
{
	const char *wanted = d->options.user;
	const struct passwd *user = getpwnam("sluice-engine");
	if (!user)
		user = getpwnam("nobody");
	if (!user)
		return error_set(error, SL_EINVAL, "started as root, but there is neither a user sluice-engine nor nobody for engines");
	d->engine_uid = user->pw_uid;
	d->engine_gid = user->pw_gid;
	user = getpwnam(wanted ? wanted : "sluice");
	if (!user && wanted)
		return error_set(error, SL_EINVAL, "--user %s: there is no such user", wanted);
	if (!user)
		user = getpwnam("daemon");
	if (!user)
		return error_set(error, SL_EINVAL, "started as root, but there is neither a user sluice nor daemon; try: --user NAME");
	if (user->pw_uid == d->engine_uid)
		return error_set(error, SL_EINVAL, "engines run as uid %u, so sluiced must not; try: --user NAME", (unsigned) user->pw_uid);
	*uid = user->pw_uid;
	*gid = user->pw_gid;
	*name = user->pw_name;
	return SL_OK;
}

/* Can everybody pass through the folders above? */
static bool reachable(const char *path)
{
	char folder[4096];
	str_copy(folder, sizeof folder, str_of(path));
	for (char *slash; (slash = strrchr(folder, '/')) != NULL && slash != folder;) {
		struct stat st;
		*slash = '\0';
		if (stat(folder, &st) != 0 || !(st.st_mode & S_IXOTH))
			return false;
	}
	return true;
}

/* A folder for the sockets of engines, beside the state and not in it, where the service's user could put something else
 * in its place: theirs, of our group, which their sockets inherit, and closed to everybody else. Without it engines get
 * ports, and whoever is on this machine can reach those. */
static void make_sockets(struct daemon *d, gid_t gid)
{
	char path[sizeof d->sockets];
	struct stat st;
	snprintf(path, sizeof path, "%s-engines", d->conf->state);
	int fd = mkdir(path, 0700) == 0 || errno == EEXIST ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	const char *why = NULL;
	if (fd < 0 || fstat(fd, &st) != 0)
		why = strerror(errno);
	else if (st.st_uid != 0 && st.st_uid != d->engine_uid)
		why = "it belongs to somebody else";
	else if (!reachable(path))
		why = "a folder above it is closed to the user of engines";
	else if (fchown(fd, d->engine_uid, gid) != 0 || fchmod(fd, 02770) != 0)
		why = strerror(errno);
	if (fd >= 0)
		close(fd);
	if (why)
		log_warn("no folder %s for sockets of engines: %s; they listen on loopback ports, which everybody on this machine can reach",
		         path, why);
	else
		str_copy(d->sockets, sizeof d->sockets, str_of(path));
}

int privileges_drop(struct daemon *d, sl_error *error)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	const char *name = NULL;
	d->was_root = uid == 0;
	d->engine_uid = uid;
	d->engine_gid = gid;
	int code = uid == 0 ? find_user(d, &uid, &gid, &name, error) : SL_OK;
	if (code == SL_OK)
		code = make_folder(d->conf->state, 0750, uid, gid, error);
	if (code == SL_OK)
		code = make_parent(d->conf->control, uid, gid, error);
	if (code == SL_OK)
		code = make_parent(d->conf->agent, uid, gid, error);
	if (code == SL_OK && d->conf->start_agent)
		code = pool_start_agent(d->conf, SLUICE_SBIN_DIR "/sluice-agent", uid, error);
	if (code != SL_OK)
		return code;
	if (name && d->engine_uid != uid)
		make_sockets(d, gid);
	if (name) {
		if (uid == 0)
			return error_set(error, SL_EINVAL, "sluiced does not serve as root; try: --user NAME");
		if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0 || setuid(0) == 0)
			return error_set(error, SL_EINTERNAL, "cannot become the user %s: %s", name, strerror(errno));
		setenv("SLUICE_STARTED_AS_ROOT", "1", 1); /* for plugins: our uid is no person's */
		log_info("serving as user %s, engines run as uid %u", name, (unsigned) d->engine_uid);
	}
	/* Keys are in memory: no core dumps, no other process of this user reads it. */
#ifndef __SANITIZE_ADDRESS__ /* a leak checker looks at its own process from outside */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	umask(0027);
	return SL_OK;
}
