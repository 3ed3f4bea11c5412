/* SPDX-License-Identifier: Apache-2.0 */
/* types.h - the plain types that sluice and its plugins share: strings, errors, identities, use records.
 *
 * Everything here is fixed-width and has no pointer that the receiver must free. Sizes and offsets are frozen
 * for ABI 1.x; fields are only ever added at the end of a struct that starts with its own size. */
#ifndef SLUICE_TYPES_H
#define SLUICE_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A borrowed piece of text: not NUL-terminated, never owned. {NULL, 0} is "absent"; ptr != NULL with len 0 is
 * "present and empty". */
typedef struct sl_str {
	const char *ptr;
	size_t len;
} sl_str;

/* What went wrong, as a number for the program. Each maps to one HTTP status. Never renumbered. */
enum sl_code {
	SL_OK = 0,
	SL_PENDING = 1,       /* not an error: the answer comes later through the token */
	SL_NOT_MINE = 2,      /* not an error: ask the next plugin of this kind */
	SL_EINVAL = -1,       /* 400: the caller sent something wrong */
	SL_EAUTH = -2,        /* 401: who are you? */
	SL_EDENIED = -3,      /* 403: not yours to do */
	SL_ENOTFOUND = -4,    /* 404: no such thing */
	SL_ECONFLICT = -5,    /* 409: not in this state */
	SL_ELIMIT = -6,       /* 429: a limit is reached */
	SL_EINTERNAL = -7,    /* 500: our own fault */
	SL_EUPSTREAM = -8,    /* 502: the other side failed */
	SL_EUNAVAILABLE = -9, /* 503: not now */
	SL_ETIMEOUT = -10,    /* 504: took too long */
	SL_ENOMEM = -11,      /* 503: out of memory */
	SL_EIO = -12,         /* 503: disk or device failed */
	SL_ESTALE = -13,      /* a token that was already completed or has expired */
	SL_EAGAIN = -14,      /* no room at the moment: try later */
	SL_EFULL = -15,       /* a configured bound is reached */
	SL_ENOTSUP = -16      /* this plugin or device cannot do that */
};

/* An error: the number, and one sentence for the person who must act (what, where, what to do). Owned by the
 * caller, filled by the callee, no allocation, no lifetime. text is always NUL-terminated. */
#define SL_ERROR_TEXT 248
typedef struct sl_error {
	int32_t code;
	char text[SL_ERROR_TEXT];
} sl_error;

/* Longest names, terminating NUL included. */
#define SL_NAME_MAX 64        /* tenant, user, model, replica, queue, device and plugin names */
#define SL_REQUEST_ID_MAX 32  /* "req_" and 26 characters of base32 */
#define SL_KEY_PREFIX_MAX 16  /* the first 12 characters of a key: enough to name it, useless to call with */

/* Roles, a bit each. An inference key cannot administer and an admin key cannot infer. */
enum sl_role {
	SL_ROLE_INFER = 1u << 0,    /* may call the inference door */
	SL_ROLE_LEASE = 1u << 1,    /* may ask for leases */
	SL_ROLE_OPERATOR = 1u << 2, /* may drain, reload, see everybody's leases */
	SL_ROLE_ADMIN = 1u << 3     /* may change tenants and keys */
};

/* Who is calling, as an auth plugin found out. */
typedef struct sl_identity {
	uint32_t size;  /* sizeof (sl_identity) of the writer */
	uint32_t roles; /* enum sl_role bits */
	char tenant[SL_NAME_MAX];
	char user[SL_NAME_MAX];        /* may be empty */
	char key[SL_KEY_PREFIX_MAX];   /* key prefix, empty when no key was used */
	char tier[SL_NAME_MAX];        /* name of the tier, empty: the tenant's own */
	uint32_t uid;                  /* peer's uid on a Unix socket, UINT32_MAX elsewhere */
	uint32_t gid;                  /* peer's gid on a Unix socket, UINT32_MAX elsewhere */
	uint64_t credential;           /* host's handle of the credential, 0 when there is none */
} sl_identity;

/* Flags of a use record. */
enum sl_usage_flag {
	SL_USAGE_STREAM = 1u << 0,
	SL_USAGE_ESTIMATED = 1u << 1,     /* the engine gave no count: ours, from the bytes */
	SL_USAGE_CLIENT_CLOSED = 1u << 2, /* the client hung up before the end */
	SL_USAGE_UPSTREAM_ERROR = 1u << 3,/* the engine failed after the first byte */
	SL_USAGE_CLAMPED = 1u << 4        /* absurd counts from the engine were cut to what was possible */
};

/* One finished request, as the ledger keeps it. All counts are exact integers. */
typedef struct sl_usage {
	uint64_t started_ms;    /* Unix time, milliseconds */
	uint64_t duration_us;   /* first byte of the request to the settled end */
	uint64_t ttft_us;       /* to the first byte of the answer's body, 0: there was none */
	uint64_t wait_us;       /* spent waiting with us for a replica */
	int64_t input_tokens;   /* cached ones included */
	int64_t cached_tokens;  /* part of input_tokens */
	int64_t output_tokens;
	int64_t cost;           /* 10^-12 of the currency: tokens x price in micro-units per million tokens */
	uint32_t flags;         /* enum sl_usage_flag */
	uint16_t status;        /* HTTP status that the client saw; 499: it hung up before any */
	uint16_t tries;         /* replicas that were asked */
	char request_id[SL_REQUEST_ID_MAX];
	char tenant[SL_NAME_MAX];
	char user[SL_NAME_MAX];
	char key[SL_KEY_PREFIX_MAX];
	char model[SL_NAME_MAX];   /* as the client named it */
	char replica[SL_NAME_MAX]; /* that answered, may be empty */
	char door[16];             /* chat, messages, ...: a name of sluice-doors(7) */
} sl_usage;

#ifdef __cplusplus
}
#endif
#endif
