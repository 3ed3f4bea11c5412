/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - has an option of every type, and its plan() reports what it got, as the reason of action 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/scheduler.h>

struct state {
	const sl_host *host;
	char text[SL_ERROR_TEXT];
};

static const sl_option options[] = {
	{ .name = "flag", .type = SL_OPTION_BOOL, .default_text = "true", .help = "a bool" },
	{ .name = "depth", .type = SL_OPTION_INT, .default_text = "5", .min = 1, .max = 9, .help = "an int",
	  .flags = SL_OPTION_RELOADABLE },
	{ .name = "delay", .type = SL_OPTION_DURATION, .default_text = "90s", .min = 0, .max = 600000, .help = "a duration" },
	{ .name = "room", .type = SL_OPTION_BYTES, .default_text = "4K", .help = "bytes" },
	{ .name = "title", .type = SL_OPTION_STRING, .help = "a string" },
	{ .name = "mode", .type = SL_OPTION_ENUM, .values = "spread|pack", .default_text = "pack", .help = "an enum" },
	{ .name = "password", .type = SL_OPTION_SECRET, .flags = SL_OPTION_REQUIRED, .help = "what opens the door" },
	{ .name = "file", .type = SL_OPTION_PATH, .help = "a path" },
	{ .name = "more", .type = SL_OPTION_JSON, .help = "anything" },
};

static void read_all(struct state *s, const sl_conf *conf)
{
	const sl_host *h = s->host;
	sl_str title = h->conf_str(conf, "title"), mode = h->conf_str(conf, "mode"), password = h->conf_str(conf, "password");
	sl_str file = h->conf_str(conf, "file"), more = h->conf_str(conf, "more"), none = h->conf_str(conf, "no such");
	snprintf(s->text, sizeof s->text, "flag=%d depth=%d delay=%d room=%d title=%s mode=%.*s password=%.*s file=%.*s more=%.*s%s",
	         (int) h->conf_int(conf, "flag"), (int) h->conf_int(conf, "depth"), (int) h->conf_int(conf, "delay"),
	         (int) h->conf_int(conf, "room"), title.ptr ? title.ptr : "-", (int) mode.len, mode.ptr, (int) password.len,
	         password.ptr, (int) file.len, file.ptr ? file.ptr : "", (int) more.len, more.ptr ? more.ptr : "",
	         none.ptr || h->conf_int(conf, "no such") || h->conf_int(conf, "title") ? " BAD" : "");
}

static int plan(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	struct state *s = self;
	(void) view, (void) error;
	*n = room ? 1 : 0;
	if (room)
		memcpy(out->reason, s->text, sizeof out->reason);
	s->host->log(s->host, SL_LOG_DEBUG, "asked for %d", 1);
	s->host->count(s->host, "asked", 2);
	return SL_OK;
}

static int open_it(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct state *s = calloc(1, sizeof *s);
	(void) error;
	if (!s)
		return SL_ENOMEM;
	s->host = host;
	read_all(s, conf);
	*self = s;
	return SL_OK;
}

static int reconfigure(void *self, const sl_conf *conf, sl_error *error)
{
	struct state *s = self;
	if (s->host->conf_int(conf, "depth") == 4) {
		strcpy(error->text, "four is right out");
		return error->code = SL_EINVAL;
	}
	read_all(s, conf);
	return SL_OK;
}

static const sl_scheduler_ops ops = { .size = sizeof ops, .plan = plan };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	.name = "options",
	.version = "2.1",
	.summary = "shows its options",
	.options = options,
	.n_options = sizeof options / sizeof options[0],
	.open = open_it,
	.reconfigure = reconfigure,
	.close = free,
	.ops = &ops,
};
