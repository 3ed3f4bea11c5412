/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sluice-agent: the command line, and the two inner modes of the program. */
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "core/agent/agent.h"
#include "core/agent/files.h"
#include "core/agent/supervise.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

enum {
	EXIT_USAGE = 2,
	EXIT_TAKEN = 3 /* another agent has the state folder or the socket: no service manager should try again */
};

struct command_line {
	struct agent_options options;
	json_t *backends;      /* array */
	json_t *config;        /* the whole file, keeps what options borrow */
	enum sl_log_level level;
};

static const char usage[] =
	"usage: sluice-agent [--socket PATH] [--state DIR] [--config FILE] [--allow-uid USER]... [--machine NAME]\n"
	"                    [--backend NAME [--backend-options JSON]]... [--no-cgroup] [--log-level LEVEL]\n"
	"\n"
	"  --socket PATH           where sluiced connects [" SLUICE_RUN_DIR "/agent.sock]\n"
	"  --state DIR             leases and their logs [" SLUICE_STATE_DIR "-agent]\n"
	"  --config FILE           JSON: {\"machine\", \"backends\": [{\"name\", \"options\"}], \"launcher\": {\"name\", \"options\"}}\n"
	"  --allow-uid USER        also serve this user, by name or number (root is always served)\n"
	"  --machine NAME          how this machine is called [its host name]\n"
	"  --backend NAME          a family of devices\n"
	"  --backend-options JSON  options of the --backend before it, an object\n"
	"  --no-cgroup             hold programs together by descent only\n"
	"  --foreground            stay in the foreground (it always does; accepted for scripts)\n"
	"  --log-level LEVEL       error, warn, info or debug [info]\n"
	"  --version, --help\n";

static int bad(const char *why, const char *what)
{
	fprintf(stderr, "sluice-agent: %s: %s\n", what, why);
	return EXIT_USAGE;
}

static bool read_level(const char *word, enum sl_log_level *out)
{
	static const char *const words[] = { "error", "warn", "info", "debug" };
	for (int i = 0; i < 4; i++)
		if (strcmp(word, words[i]) == 0) {
			*out = (enum sl_log_level) i;
			return true;
		}
	return false;
}

static int add_uid(struct agent_options *o, const char *text)
{
	uint64_t uid;
	if (!str_to_u64(str_of(text), UINT32_MAX - 1, &uid)) {
		const struct passwd *user = getpwnam(text);
		if (!user)
			return bad("no such user", text);
		uid = user->pw_uid;
	}
	if (o->n_uids >= AGENT_UIDS_MAX)
		return bad("too many --allow-uid", text);
	o->uids[o->n_uids++] = (uid_t) uid;
	return 0;
}

static int add_backend_options(struct command_line *c, const char *text)
{
	sl_error e = { 0 };
	json_t *last = json_array_get(c->backends, json_array_size(c->backends) - 1);
	json_t *options = json_parse(str_of(text), &e);
	if (!options || !json_is_object(options) || !last) {
		json_decref(options);
		return bad(!last ? "--backend-options stands before any --backend" : e.text[0] ? e.text : "must be a JSON object",
		           text);
	}
	json_object_set_new(last, "options", options);
	return 0;
}

static int take_config(struct command_line *c, const char *path)
{
	static const char *const known[] = { "machine", "backends", "launcher", NULL };
	sl_error e = { 0 };
	const char *key;
	json_t *value, *launcher;
	c->config = path[0] == '/' ? files_read_json("", path + 1, &e) : files_read_json(".", path, &e);
	if (!c->config)
		return bad(e.text, path);
	json_object_foreach(c->config, key, value) {
		size_t i = 0;
		while (known[i] && strcmp(known[i], key) != 0)
			i++;
		if (!known[i])
			return bad("unknown field; there are machine, backends, launcher", key);
	}
	value = json_object_get(c->config, "backends");
	if (value && !json_is_array(value))
		return bad("must be an array", "backends");
	json_array_extend(c->backends, value);
	if (!c->options.machine)
		c->options.machine = json_get_str(c->config, "machine", NULL);
	launcher = json_object_get(c->config, "launcher");
	if (launcher) {
		c->options.launcher = json_get_str(launcher, "name", "exec");
		c->options.launcher_options = json_object_get(launcher, "options");
	}
	return 0;
}

static int parse(struct command_line *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "socket", 1, NULL, 's' }, { "state", 1, NULL, 'd' }, { "config", 1, NULL, 'c' }, { "allow-uid", 1, NULL, 'u' },
		{ "machine", 1, NULL, 'm' }, { "backend", 1, NULL, 'b' }, { "backend-options", 1, NULL, 'o' },
		{ "no-cgroup", 0, NULL, 'n' }, { "foreground", 0, NULL, 'f' }, { "log-level", 1, NULL, 'l' },
		{ "version", 0, NULL, 'v' }, { "help", 0, NULL, 'h' }, { 0 },
	};
	int rc = 0;
	for (int option; rc == 0 && (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (option) {
		case 's': c->options.socket = optarg; break;
		case 'd': c->options.state = optarg; break;
		case 'c': rc = take_config(c, optarg); break;
		case 'u': rc = add_uid(&c->options, optarg); break;
		case 'm': c->options.machine = optarg; break;
		case 'b': json_array_append_new(c->backends, json_pack("{s:s}", "name", optarg)); break;
		case 'o': rc = add_backend_options(c, optarg); break;
		case 'n': c->options.no_cgroup = true; break;
		case 'f': break;
		case 'l': rc = read_level(optarg, &c->level) ? 0 : bad("must be error, warn, info or debug", optarg); break;
		case 'v': printf("sluice-agent %s\n", PACKAGE_VERSION); exit(0);
		case 'h': fputs(usage, stdout); exit(0);
		default: rc = EXIT_USAGE;
		}
	}
	if (rc == 0 && optind < argc)
		rc = bad("an argument that means nothing here", argv[optind]);
	if (rc == EXIT_USAGE)
		fputs("Try sluice-agent --help.\n", stderr);
	return rc;
}

static int serve(const struct agent_options *options)
{
	static struct agent agent;
	sl_error e = { 0 };
	int rc = agent_open(&agent, options, &e);
	if (rc == SL_OK)
		agent_run(&agent);
	else
		log_error("%s", e.text);
	agent_close(&agent);
	return rc == SL_OK ? 0 : rc == SL_ECONFLICT ? EXIT_TAKEN : 1;
}

int main(int argc, char **argv)
{
	/* Inner modes, started by the agent itself; they take no other argument. */
	if (argc == 3 && strcmp(argv[1], "--supervise") == 0) {
		log_setup("sluice-job", SL_LOG_INFO);
		/* At once: whatever ran at exit (a sanitizer's search for leaks is a process) would count as the program's
		 * and be killed, and its parent would wait for it for ever. */
		_exit(supervise_main());
	}
	if (argc == 3 && strcmp(argv[1], "--backend-host") == 0) {
		log_setup("sluice-backend", SL_LOG_INFO);
		return backend_host_main(atoi(argv[2]));
	}
	struct command_line c = {
		.options = { .socket = SLUICE_RUN_DIR "/agent.sock", .state = SLUICE_STATE_DIR "-agent", .launcher = "exec" },
		.backends = json_array(),
		.level = SL_LOG_INFO,
	};
	umask(022);
	int rc = parse(&c, argc, argv);
	if (rc == 0) {
		log_setup("sluice-agent", c.level);
		c.options.backends = c.backends;
		rc = serve(&c.options);
	}
	json_decref(c.config);
	json_decref(c.backends);
	return rc;
}
