/* SPDX-License-Identifier: Apache-2.0 */
/* path.c - folders by their path. */
#include "core/base/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int path_make_folders(const char *path, unsigned mode)
{
	char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	/* What fails above fails below too, with its reason. */
	for (char *at = *copy ? strchr(copy + 1, '/') : NULL; at; at = strchr(at + 1, '/')) {
		*at = '\0';
		mkdir(copy, 0755);
		*at = '/';
	}
	free(copy);
	if (mkdir(path, mode) == 0)
		return 1;
	if (errno != EEXIST)
		return -errno;
	struct stat st;
	return stat(path, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
