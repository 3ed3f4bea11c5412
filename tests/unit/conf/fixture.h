/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h - a folder of files to load. */
#ifndef TESTS_UNIT_CONF_FIXTURE_H
#define TESTS_UNIT_CONF_FIXTURE_H

#include "core/base/buf.h"
#include "core/conf/conf.h"

/* Makes an empty folder and points the Lua library at the sources. */
void fixture_open(void);
void fixture_close(void);
const char *fixture_path(const char *name);
const char *fixture_write(const char *name, const char *text);
/* Loads this text as sluice.lua; *report is NUL-terminated text until the next call. */
struct conf *fixture_load(const char *text, const char **report);
/* It must load, without a word. */
struct conf *fixture_good(const char *text);
/* It must be refused, and each of the NULL-terminated texts must stand in the report. */
void fixture_bad(const char *text, ...);

#endif
