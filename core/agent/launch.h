/* SPDX-License-Identifier: Apache-2.0 */
/* launch.h - a start request: checked, then turned into a program by the launcher plugin. */
#ifndef CORE_AGENT_LAUNCH_H
#define CORE_AGENT_LAUNCH_H

#include "core/agent/lease.h"

/* Checks the request and enters the lease; its spec holds argv, cwd and the variables. NULL: refused. */
struct lease *launch_accept(struct agent *a, const json_t *request, sl_error *error);
/* Asks the launcher; the spec is then what the supervisor wants. */
int launch_plan(struct lease *l, sl_error *error);

#endif
