/* SPDX-License-Identifier: Apache-2.0 */
/* path.h - folders by their path. */
#ifndef CORE_BASE_PATH_H
#define CORE_BASE_PATH_H

/* Makes the folder with this mode, and with 0755 those above it that are missing. 1: made; 0: the folder was there and
 * stays as it is; or -errno. */
int path_make_folders(const char *path, unsigned mode);

#endif
