/* SPDX-License-Identifier: Apache-2.0 */
/* files.h - small files of the agent's state folder. */
#ifndef CORE_AGENT_FILES_H
#define CORE_AGENT_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <sluice/types.h>

/* Writes a file of mode 0600 that is either the old or the new one after any crash, durable on return. */
int files_write_json(const char *folder, const char *name, const json_t *value, sl_error *error);
/* A JSON object of at most 4 MiB. NULL: SL_ENOTFOUND when there is none, SL_EIO or SL_EINVAL. */
json_t *files_read_json(const char *folder, const char *name, sl_error *error);
/* The first line of a small file, without its end. False: not readable. */
bool files_read_line(const char *path, char *out, size_t room);
/* Writes text into an existing file (of /proc or a cgroup) at once. 0 or -errno. */
int files_put(const char *path, const char *text);
/* mkdir -p of the last part only; an existing folder is fine. 0 or -errno. */
int files_make_folder(const char *path, unsigned mode);
/* Removes a folder and the plain files in it. */
void files_remove_folder(const char *path);

#endif
