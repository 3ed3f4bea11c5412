/* SPDX-License-Identifier: Apache-2.0 */
/* base64.h - decodes base64. */
#ifndef CORE_CLI_BASE64_H
#define CORE_CLI_BASE64_H

#include <stdbool.h>

#include "core/base/buf.h"

/* Appends the bytes of standard base64 with padding; strict. False: not base64 (out may hold a part). */
bool base64_decode(struct buf *out, sl_str text);

#endif
