/* SPDX-License-Identifier: Apache-2.0 */
/* descriptor.c - maps a plugin's file, and checks its descriptor field by field before anything of it is used. */
#include "config.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>

#include "core/base/str.h"
#include "core/plugin/plugin_private.h"

/* Sizes of ABI 1.0; they never change. */
enum { FROZEN_HEAD = 16, DESCRIPTOR_MIN = 144, OPTION_MIN = 56, OPTIONS_MAX = 256, OPTION_SIZE_MAX = 4096 };

/* The linker's words without the path in front, which the sentence has already. */
static const char *linker_words(const struct plugin_attempt *a)
{
	const char *words = dlerror();
	size_t len = strlen(a->path);
	if (!words)
		return "the dynamic linker gave no reason";
	return strncmp(words, a->path, len) == 0 && words[len] == ':' ? words + len + 1 + (words[len + 1] == ' ') : words;
}

static bool find_symbol(struct plugin_attempt *a, const sl_plugin **out, size_t *size)
{
	/* NODELETE: vendors' libraries leave threads and exit handlers behind; nothing is ever unmapped. */
	void *file = dlopen(a->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!file)
		return plugin_refuse(a, PLUGIN_DLOPEN, "the dynamic linker says: %s; link the plugin with all that it needs "
		                     "(-Wl,-z,defs finds this when it is built)", linker_words(a));
	const sl_plugin *found = dlsym(file, "sluice_plugin");
	Dl_info info;
	const ElfW(Sym) *symbol = NULL;
	if (!found || !dladdr1(found, &info, (void **) &symbol, RTLD_DL_SYMENT) || !symbol)
		return plugin_refuse(a, PLUGIN_NO_SYMBOL, "expected the symbol 'sluice_plugin', found none; declare the descriptor "
		                     "with SL_EXPORT and build with -Wl,-z,defs");
	*out = found;
	*size = symbol->st_size;
	return true;
}

/* The first 16 bytes mean the same for ever, whatever the rest is. */
static bool head_fits(struct plugin_attempt *a, const sl_plugin *d, size_t size)
{
	if (size < FROZEN_HEAD || d->magic != SL_PLUGIN_MAGIC)
		return plugin_refuse(a, PLUGIN_MAGIC, "'sluice_plugin' is not a descriptor: expected magic %08x, found %08x; start it "
		                     "with SL_PLUGIN_HEAD(KIND)", SL_PLUGIN_MAGIC, size < FROZEN_HEAD ? 0 : d->magic);
	if (d->abi_major != SL_ABI_MAJOR)
		return plugin_refuse(a, PLUGIN_MAJOR, "wants ABI %u.%u, this sluice speaks %d.%d; build it against the headers of "
		                     "this sluice", d->abi_major, d->abi_minor, SL_ABI_MAJOR, SL_ABI_MINOR);
	if (d->abi_minor > SL_ABI_MINOR)
		return plugin_refuse(a, PLUGIN_MINOR, "wants ABI %u.%u, this sluice speaks %d.0 to %d.%d; upgrade sluice or build the "
		                     "plugin against older headers", d->abi_major, d->abi_minor, SL_ABI_MAJOR, SL_ABI_MAJOR,
		                     SL_ABI_MINOR);
	if (d->struct_size < DESCRIPTOR_MIN || d->struct_size > size)
		return plugin_refuse(a, PLUGIN_SIZE, "its descriptor says %u bytes, expected at least %d and at most the %zu that the "
		                     "symbol has; start it with SL_PLUGIN_HEAD(KIND)", d->struct_size, DESCRIPTOR_MIN, size);
	return true;
}

static bool kind_fits(struct plugin_attempt *a, const sl_plugin *d)
{
	const struct plugin_kind *kind = plugin_kind_of(d->kind);
	const struct plugin_kind *wanted = plugin_kind_of(a->spec->kind);
	if (!kind)
		return plugin_refuse(a, PLUGIN_KIND, "kind %u is unknown, expected 1 (backend) to 5 (launcher)", d->kind);
	if (wanted && wanted != kind)
		return plugin_refuse(a, PLUGIN_KIND, "expected kind '%s', found '%s'; name it as plugin \"%s/%s\"", wanted->name,
		                     kind->name, kind->name, a->stem);
	return true;
}

static bool words_fit(struct plugin_attempt *a, const sl_plugin *d)
{
	if (!d->name || strcmp(d->name, a->stem) != 0)
		return plugin_refuse(a, PLUGIN_NAME, "its name is '%.60s', expected '%s' as the file is called; rename one of them",
		                     d->name ? d->name : "", a->stem);
	if (!d->version || !d->summary)
		return plugin_refuse(a, PLUGIN_SIZE, "its descriptor has no %s; give it one", d->version ? "summary" : "version");
	for (size_t i = 0; i < sizeof d->reserved / sizeof d->reserved[0]; i++)
		if (d->reserved[i] != 0)
			return plugin_refuse(a, PLUGIN_SIZE, "reserved[%zu] of its descriptor is not zero; leave it out of the "
			                     "initialiser", i);
	if (d->needs != 0)
		return plugin_refuse(a, PLUGIN_NEEDS, "needs feature bits %#llx of its host, this sluice has none of them; upgrade "
		                     "sluice", (unsigned long long) d->needs);
	if (!d->open || !d->close)
		return plugin_refuse(a, PLUGIN_OPS, "its descriptor has no %s(); every plugin has both", d->open ? "close" : "open");
	return true;
}

static bool ops_fit(struct plugin_attempt *a, const sl_plugin *d, void **out)
{
	const struct plugin_kind *kind = plugin_kind_of(d->kind);
	if (!d->ops)
		return plugin_refuse(a, PLUGIN_OPS, "ops is NULL, expected the table of a %s; see sluice/%s.h", kind->name, kind->name);
	uint32_t size;
	memcpy(&size, d->ops, sizeof size);
	if (size < kind->ops_min)
		return plugin_refuse(a, PLUGIN_OPS, "its table says %u bytes, expected at least %zu; set .size = sizeof "
		                     "(sl_%s_ops)", size, kind->ops_min, kind->name);
	char *ops = calloc(1, kind->ops_size);
	if (!ops)
		return plugin_refuse(a, PLUGIN_OPS, "out of memory");
	memcpy(ops, d->ops, size < kind->ops_size ? size : kind->ops_size);
	for (size_t i = 0; i < kind->n_functions; i++) {
		void *function;
		memcpy(&function, ops + kind->functions[i], sizeof function);
		if (!function) {
			free(ops);
			return plugin_refuse(a, PLUGIN_OPS, "function %zu of its table is NULL, every %s has it; see sluice/%s.h", i + 1,
			                     kind->name, kind->name);
		}
	}
	*out = ops;
	return true;
}

sl_option plugin_option_at(const sl_plugin *d, size_t i)
{
	sl_option option = { 0 };
	size_t size = d->option_size < sizeof option ? d->option_size : sizeof option;
	memcpy(&option, (const char *) d->options + i * d->option_size, size);
	return option;
}

static bool options_fit(struct plugin_attempt *a, const sl_plugin *d)
{
	if (d->n_options == 0)
		return true;
	if (!d->options || d->n_options > OPTIONS_MAX)
		return plugin_refuse(a, PLUGIN_OPTION, "says that it has %u options; expected at most %d, and a table of them",
		                     d->n_options, OPTIONS_MAX);
	if (d->option_size < OPTION_MIN || d->option_size > OPTION_SIZE_MAX || d->option_size % sizeof(void *) != 0)
		return plugin_refuse(a, PLUGIN_SIZE, "option_size is %u, expected at least %d; start the descriptor with "
		                     "SL_PLUGIN_HEAD(KIND)", d->option_size, OPTION_MIN);
	for (size_t i = 0; i < d->n_options; i++) {
		sl_option o = plugin_option_at(d, i);
		if (!o.name || !*o.name || !o.help)
			return plugin_refuse(a, PLUGIN_OPTION, "option %zu of its table has no %s", i + 1, o.help ? "name" : "help");
		if (o.type < SL_OPTION_BOOL || o.type > SL_OPTION_JSON)
			return plugin_refuse(a, PLUGIN_OPTION, "option '%s' has the unknown type %u", o.name, o.type);
		if (o.type == SL_OPTION_ENUM && (!o.values || !*o.values))
			return plugin_refuse(a, PLUGIN_OPTION, "option '%s' is an enum without values", o.name);
		for (size_t k = 0; k < i; k++)
			if (strcmp(plugin_option_at(d, k).name, o.name) == 0)
				return plugin_refuse(a, PLUGIN_OPTION, "option '%s' is twice in its table", o.name);
	}
	return true;
}

bool plugin_descriptor_load(struct plugin_attempt *a, sl_plugin *out, void **ops)
{
	const sl_plugin *found = NULL;
	size_t size = 0;
	if (!find_symbol(a, &found, &size) || !head_fits(a, found, size))
		return false;
	memset(out, 0, sizeof *out);
	memcpy(out, found, found->struct_size < sizeof *out ? found->struct_size : sizeof *out);
	return kind_fits(a, out) && words_fit(a, out) && options_fit(a, out) && ops_fit(a, out, ops);
}
