/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c - where engines listen: a Unix socket where they can, else a free port on loopback. */
#include "core/fleet/inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/str.h"

static bool choose_socket(struct fleet *fleet, char out[160])
{
	for (int tries = 0; tries < 10000; tries++) {
		struct stat st;
		int n = snprintf(out, 160, "unix:%s/r%u.sock", fleet->sockets, ++fleet->last_socket);
		if (n < 0 || (size_t) n - strlen("unix:") >= sizeof(((struct sockaddr_un *) 0)->sun_path))
			return false; /* longer than a socket's path may be */
		if (lstat(out + strlen("unix:"), &st) != 0 && errno == ENOENT)
			return true;
	}
	return false;
}

/* A port that was free a moment ago. Somebody else may take it before the engine does: the engine then fails to
 * start, and the next try gets another. */
static int choose_port(char out[160], sl_error *error)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, SL_EUNAVAILABLE, "cannot make a socket: %s", strerror(errno));
	int code = SL_OK;
	if (bind(fd, (struct sockaddr *) &address, sizeof address) != 0 || getsockname(fd, (struct sockaddr *) &address, &len) != 0)
		code = error_set(error, SL_EUNAVAILABLE, "no free port on 127.0.0.1: %s", strerror(errno));
	else
		snprintf(out, 160, "127.0.0.1:%u", ntohs(address.sin_port));
	close(fd);
	return code;
}

int fleet_listen_choose(struct fleet *fleet, bool unix_socket, char out[160], sl_error *error)
{
	if (unix_socket && choose_socket(fleet, out))
		return SL_OK;
	return choose_port(out, error);
}
