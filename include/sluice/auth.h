/* SPDX-License-Identifier: Apache-2.0 */
/* auth.h - plugins that say who is calling.
 *
 * Auth plugins are asked in the configured order. Each says yes (SL_OK, an identity), no (an error, final), not
 * mine (SL_NOT_MINE, the next is asked) or later (SL_PENDING: exactly one token_done with an sl_identity, or
 * token_fail, follows from any thread). When all say "not mine" the answer is 401. */
#ifndef SLUICE_AUTH_H
#define SLUICE_AUTH_H

#include <sluice/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

enum sl_door {
	SL_DOOR_INFERENCE = 1, /* the inference door */
	SL_DOOR_CONTROL = 2    /* the control socket */
};

/* What is known of the caller. Borrowed for the call: copy what a later answer needs. */
typedef struct sl_auth_request {
	uint32_t size;
	uint32_t door;        /* enum sl_door */
	sl_str authorization; /* value of the Authorization header, absent when there is none */
	sl_str api_key;       /* value of the x-api-key header */
	sl_str peer;          /* address without port, or "unix" */
	int32_t has_peercred; /* 1: the three below come from the kernel */
	uint32_t peer_uid;
	uint32_t peer_gid;
	int32_t peer_pid;
} sl_auth_request;

typedef struct sl_auth_ops {
	uint32_t size; /* sizeof (sl_auth_ops) */
	/* May be called from several threads at once, for one instance. Must not block: answer SL_PENDING instead.
	 * The host waits at most 5 seconds for a token, then answers 503 by itself; the plugin must still complete
	 * it. `error` says why, in words that give nothing away about which keys exist. */
	int (*authenticate)(void *self, const sl_auth_request *request, sl_token token, sl_identity *out, sl_error *error);
} sl_auth_ops;

#ifdef __cplusplus
}
#endif
#endif
