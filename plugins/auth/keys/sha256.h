/* SPDX-License-Identifier: Apache-2.0 */
/* sha256.h - SHA-256 of short data by the processor's own instructions, where it has them. */
#ifndef PLUGINS_AUTH_KEYS_SHA256_H
#define PLUGINS_AUTH_KEYS_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SHORT_MAX = 55 }; /* bytes that fit into one block with their padding */

/* Has this processor what sha256_short needs? */
int sha256_fast(void);
/* len at most SHA256_SHORT_MAX. Only where sha256_fast() is true. */
void sha256_short(const void *data, size_t len, uint8_t digest[32]);

#endif
