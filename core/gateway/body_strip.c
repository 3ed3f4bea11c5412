/* SPDX-License-Identifier: Apache-2.0 */
/* body_strip.c - names of members that are cut out, in the order of their lengths. */
#include "core/gateway/body_strip.h"

#include <stdlib.h>
#include <string.h>

struct body_strip {
	unsigned first[BODY_NAME_MAX + 2]; /* names[first[n] .. first[n + 1]) have n bytes */
	const char *names[];
};

static const char *find(const struct body_strip *strip, const char *name, size_t len)
{
	for (unsigned i = strip->first[len]; i < strip->first[len + 1]; i++)
		if (memcmp(strip->names[i], name, len) == 0)
			return strip->names[i];
	return NULL;
}

struct body_strip *body_strip_new(const char *const *names, size_t n)
{
	struct body_strip *strip = calloc(1, sizeof *strip + n * sizeof *strip->names);
	unsigned at = 0;
	for (size_t len = 0; strip && len <= BODY_NAME_MAX; len++) {
		strip->first[len] = strip->first[len + 1] = at;
		for (size_t i = 0; i < n; i++) {
			if (strlen(names[i]) != len || find(strip, names[i], len))
				continue;
			strip->names[at++] = names[i];
			strip->first[len + 1] = at;
		}
	}
	return strip;
}

void body_strip_free(struct body_strip *strip)
{
	free(strip);
}

const char *body_strip_find(const struct body_strip *strip, sl_str name)
{
	return strip && name.ptr && name.len <= BODY_NAME_MAX ? find(strip, name.ptr, name.len) : NULL;
}
