/* SPDX-License-Identifier: Apache-2.0 */
/* refuse.c - which file is meant, and the sentence that says why it is not taken. */
#include <stdarg.h>
#include <stdio.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/plugin/plugin_private.h"

enum { PATH_SHOWN = 96 }; /* the reason must fit behind it */

bool plugin_refuse(struct plugin_attempt *a, enum plugin_refusal refusal, const char *format, ...)
{
	char reason[SL_ERROR_TEXT];
	va_list args;
	va_start(args, format);
	vsnprintf(reason, sizeof reason, format, args);
	va_end(args);

	const char *path = a->path[0] ? a->path : a->asked;
	size_t len = strlen(path);
	const char *cut = len > PATH_SHOWN ? "..." : "";
	const char *tail = len > PATH_SHOWN ? path + len - PATH_SHOWN : path;
	const char *kind = plugin_kind_name(a->spec->kind);
	error_set(a->error, refusal == PLUGIN_NOT_READABLE ? SL_ENOTFOUND : SL_EINVAL, "%s%s%s '%s': refused %s%s: %s",
	          a->spec->where ? a->spec->where : "", a->spec->where ? ": " : "", kind ? kind : "plugin", a->stem, cut, tail,
	          reason);
	if (a->refusal)
		*a->refusal = refusal;
	return false;
}

static bool is_plain_name(sl_str name)
{
	if (name.len == 0 || name.len >= SL_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (i > 0 && (c == '_' || c == '-'))))
			return false;
	}
	return true;
}

/* The name that is asked for: of a path that of its file. */
static sl_str stem_of(const struct plugin_spec *spec)
{
	const char *name = spec->name ? spec->name : "", *slash = strrchr(name, '/');
	sl_str stem = str_of(slash ? slash + 1 : name);
	if (slash && stem.len > 3 && memcmp(stem.ptr + stem.len - 3, ".so", 3) == 0)
		stem.len -= 3;
	return stem;
}

bool plugin_name_check(struct plugin_attempt *a)
{
	return is_plain_name(stem_of(a->spec)) ||
	       plugin_refuse(a, PLUGIN_NAME, "a plugin's name is 1 to %d of a-z, 0-9, '-' and '_', and its file is NAME.so; rename "
	                     "the file", SL_NAME_MAX - 1);
}

bool plugin_attempt_init(struct plugin_attempt *a, const struct plugin_spec *spec, enum plugin_refusal *refusal,
                         sl_error *error)
{
	*a = (struct plugin_attempt){ .spec = spec, .refusal = refusal, .error = error };
	if (refusal)
		*refusal = PLUGIN_FINE;
	const char *kind = plugin_kind_name(spec->kind);
	const char *name = spec->name ? spec->name : "";
	const char *slash = strrchr(name, '/');
	int n;
	if (slash)
		n = snprintf(a->asked, sizeof a->asked, "%s", name);
	else
		n = snprintf(a->asked, sizeof a->asked, "%s/%s/%s.so", plugin_folder(), kind ? kind : "", name);

	str_copy(a->stem, sizeof a->stem, stem_of(spec));
	if (!kind && spec->kind != 0)
		return plugin_refuse(a, PLUGIN_KIND, "there is no kind of plugin with number %u", spec->kind);
	/* What a path leads to is looked at first: who gave us a wrong file needs another one, and no other name for it. */
	if (!slash && !plugin_name_check(a))
		return false;
	if (n < 0 || (size_t) n >= sizeof a->asked)
		return plugin_refuse(a, PLUGIN_NOT_READABLE, "the path is longer than %d bytes", PATH_MAX - 1);
	return true;
}
