/* SPDX-License-Identifier: Apache-2.0 */
/* base64.h - standard base64 (RFC 4648), with padding. */
#ifndef CORE_BASE_BASE64_H
#define CORE_BASE_BASE64_H

#include "core/base/buf.h"

/* Appends the text of len bytes. */
void base64_put(struct buf *out, const void *data, size_t len);
/* Appends the bytes of text; strict. False: not base64 (out may hold a part), or memory is out. */
bool base64_get(struct buf *out, sl_str text);

#endif
