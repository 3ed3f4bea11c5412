/* SPDX-License-Identifier: Apache-2.0 */
/* lease_output.c - how far a program's output may be ahead of who reads it. */
#include <stdint.h>
#include <string.h>

#include "core/agent/lease.h"
#include "core/agent/output.h"
#include "core/base/error.h"

/* The supervisor looks at the file by itself, so a later agent need not know of it. */
int lease_pace(struct lease *l, int64_t out, int64_t err, uint64_t hold_ms, sl_error *error)
{
	const struct output_flow flow = {
		.read = { out < 0 ? UINT64_MAX : (uint64_t) out, err < 0 ? UINT64_MAX : (uint64_t) err },
		.until_boot_ms = hold_ms ? proc_boottime_ms() + hold_ms : 0,
	};
	if (l->state == LEASE_ENDED)
		return SL_OK;
	int failed = output_flow_put(l->folder, &flow);
	return failed ? error_set(error, SL_EIO, "%s/%s: %s", l->folder, OUTPUT_FLOW, strerror(failed)) : SL_OK;
}
