/* SPDX-License-Identifier: Apache-2.0 */
/* sha256.c - SHA-256 (FIPS 180-4) of a key by the processor's own instructions: a quarter of what a library call costs. */
#include "plugins/auth/keys/sha256.h"

#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

static const uint32_t round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

int sha256_fast(void)
{
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
		return 0;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

__attribute__((target("sha,ssse3,sse4.1"))) void sha256_short(const void *data, size_t len, uint8_t digest[32])
{
	/* Words of the message are big-endian; the instructions want the state as ABEF and CDGH. */
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	const __m128i abef = _mm_set_epi32(0x6a09e667, (int) 0xbb67ae85, 0x510e527f, (int) 0x9b05688c);
	const __m128i cdgh = _mm_set_epi32(0x3c6ef372, (int) 0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
	uint8_t block[64] = { 0 };
	memcpy(block, data, len);
	block[len] = 0x80;
	block[62] = (uint8_t) (len * 8 >> 8);
	block[63] = (uint8_t) (len * 8);
	__m128i w[4], first = abef, second = cdgh;
	for (int i = 0; i < 4; i++)
		w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) (const void *) (block + 16 * i)), swap);
#pragma GCC unroll 16
	for (int i = 0; i < 16; i++) {
		__m128i k = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const __m128i *) (const void *) (round_constants + 4 * i)));
		second = _mm_sha256rnds2_epu32(second, first, k);
		first = _mm_sha256rnds2_epu32(first, second, _mm_shuffle_epi32(k, 0x0e));
		if (i < 12) { /* the words of four groups later */
			__m128i next = _mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]),
			                             _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
			w[i & 3] = _mm_sha256msg2_epu32(next, w[(i + 3) & 3]);
		}
	}
	first = _mm_shuffle_epi32(_mm_add_epi32(first, abef), 0x1b);   /* FEBA to ABEF */
	second = _mm_shuffle_epi32(_mm_add_epi32(second, cdgh), 0x1b);
	_mm_storeu_si128((__m128i *) (void *) digest, _mm_shuffle_epi8(_mm_unpacklo_epi64(first, second), swap));
	_mm_storeu_si128((__m128i *) (void *) (digest + 16), _mm_shuffle_epi8(_mm_unpackhi_epi64(first, second), swap));
}
#else
int sha256_fast(void)
{
	return 0;
}

void sha256_short(const void *data, size_t len, uint8_t digest[32])
{
	(void) data;
	(void) len;
	(void) digest;
}
#endif
