/* SPDX-License-Identifier: Apache-2.0 */
/* start.c - starts an agent that outlives us. */
#define _GNU_SOURCE /* close_range */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

enum { START_WAIT_MS = 5000, START_POLL_MS = 20 };

static bool answers(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (!str_copy(address.sun_path, sizeof address.sun_path, str_of(path)))
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	bool yes = connect(fd, (struct sockaddr *) &address, sizeof address) == 0 || errno == EAGAIN;
	close(fd);
	return yes;
}

static json_t *plugin_json(const struct conf_plugin *plugin)
{
	json_t *object = json_object();
	json_set_str(object, "name", str_of(plugin->name));
	if (plugin->options)
		json_object_set(object, "options", plugin->options);
	else
		json_object_set_new(object, "options", json_object());
	return object;
}

static json_t *plugins_json(const struct conf *conf)
{
	json_t *object = json_object(), *backends = json_array(), *launcher = NULL;
	for (size_t i = 0; i < conf->n_plugins; i++) {
		const struct conf_plugin *plugin = &conf->plugins[i];
		if (strcmp(plugin->kind, "backend") == 0)
			json_array_append_new(backends, plugin_json(plugin));
		else if (strcmp(plugin->kind, "launcher") == 0 && !launcher)
			launcher = plugin_json(plugin);
	}
	json_object_set_new(object, "backends", backends);
	json_object_set_new(object, "launcher", launcher ? launcher : plugin_json(&(struct conf_plugin){ .name = "exec" }));
	return object;
}

static json_t *configuration(const struct conf *conf)
{
	char machine[SL_NAME_MAX] = "";
	json_t *object = plugins_json(conf);
	gethostname(machine, sizeof machine - 1);
	json_set_str(object, "machine", str_of(machine));
	return object;
}

void start_mark(const struct conf *conf, char out[JSON_MARK_MAX])
{
	json_t *object = plugins_json(conf);
	json_mark(object, out);
	json_decref(object);
}

/* Whole or not at all: an agent may read it while we write. Options may hold secrets. */
static int write_configuration(const struct conf *conf, const char *path, sl_error *error)
{
	char unfinished[520];
	json_t *object = configuration(conf);
	snprintf(unfinished, sizeof unfinished, "%s.new", path);
	unlink(unfinished);
	int fd = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int code = fd < 0 || json_dumpfd(object, fd, JSON_INDENT(2)) < 0 || rename(unfinished, path) < 0
	           ? error_set(error, SL_EIO, "cannot write %s: %s", path, strerror(errno)) : SL_OK;
	if (fd >= 0)
		close(fd);
	json_decref(object);
	return code;
}

/* In the child of a child: nothing but system calls. Signals as a program expects them, nothing of ours open. */
static _Noreturn void become(const char *program, char *const *argv, int log)
{
	sigset_t none;
	sigemptyset(&none);
	for (int signal = 1; signal < NSIG; signal++)
		sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null = open("/dev/null", O_RDWR);
	if (chdir("/") < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(126);
	close_range(3, ~0u, 0);
	execv(program, argv);
	static const char words[] = "the agent cannot be executed\n";
	ssize_t written = write(2, words, sizeof words - 1);
	_exit(written < 0 ? 126 : 127);
}

/* The agent is a grandchild, so that it is nobody's zombie and in no session of ours. */
static int spawn(const char *program, char *const *argv, int log, sl_error *error)
{
	pid_t child = fork();
	if (child < 0)
		return error_set(error, SL_EIO, "cannot start %s: %s", program, strerror(errno));
	if (child == 0) {
		setsid();
		pid_t agent = fork();
		if (agent == 0)
			become(program, argv, log);
		_exit(agent < 0);
	}
	int status;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? SL_OK
	       : error_set(error, SL_EIO, "cannot start %s: no process could be made", program);
}

/* One that we may not write was made before privileges were dropped: a new one takes its place. */
static int open_log(const char *path)
{
	const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
	int log = open(path, flags, 0600);
	if (log < 0 && errno == EACCES && unlink(path) == 0)
		log = open(path, flags, 0600);
	return log;
}

/* Where the agent keeps its state and reads its configuration. An agent of root's must not take them from a folder that
 * the service's user can write: it has one of its own beside the state. */
static void agent_folder(const struct conf *conf, char *out, size_t room)
{
	snprintf(out, room, "%s%s", conf->state, geteuid() == 0 ? "-agent" : "/agent");
}

int start_spawn(const struct conf *conf, const char *program, uid_t allow_uid, sl_error *error)
{
	char state[480], config[512], log_path[512], uid[24];
	if (access(program, X_OK) < 0)
		return error_set(error, SL_EIO, "the agent %s cannot be executed: %s", program, strerror(errno));
	agent_folder(conf, state, sizeof state);
	snprintf(config, sizeof config, "%s/agent.json", state);
	snprintf(log_path, sizeof log_path, "%s/agent.log", state);
	snprintf(uid, sizeof uid, "%u", (unsigned) allow_uid);
	if ((mkdir(conf->state, 0700) < 0 && errno != EEXIST) || (mkdir(state, 0700) < 0 && errno != EEXIST))
		return error_set(error, SL_EIO, "cannot make the folder %s: %s", state, strerror(errno));
	if (write_configuration(conf, config, error) != SL_OK)
		return error->code;
	int log = open_log(log_path);
	if (log < 0)
		return error_set(error, SL_EIO, "cannot open %s: %s", log_path, strerror(errno));
	const char *argv[] = { program, "--config", config, "--socket", conf->agent, "--state", state, "--allow-uid", uid, NULL };
	int code = spawn(program, (char *const *) argv, log, error);
	close(log);
	return code;
}

/* What an agent that we have started said last of what keeps it from working, behind `from` bytes of its log. */
static void last_error(const char *path, off_t from, char *out, size_t room)
{
	char *line = NULL;
	size_t size = 0;
	FILE *file = fopen(path, "re");
	out[0] = '\0';
	if (!file)
		return;
	fseeko(file, from, SEEK_SET);
	while (getline(&line, &size, file) > 0) {
		const char *text = strstr(line, " level=error ") ? strstr(line, "msg=\"") : NULL;
		const char *end = text ? strrchr(text, '"') : NULL;
		if (end > text + 5)
			snprintf(out, room, "%.*s", (int) (end - text - 5), text + 5);
	}
	free(line);
	fclose(file);
}

static int no_answer(const struct conf *conf, const char *program, const char *log, off_t from, sl_error *error)
{
	char said[320];
	last_error(log, from, said, sizeof said);
	if (said[0])
		return error_set(error, SL_ETIMEOUT, "the agent cannot start: %s", said);
	return error_set(error, SL_ETIMEOUT, "%s was started and does not answer at %s after %d s: see %s", program, conf->agent,
	                 START_WAIT_MS / 1000, log);
}

int pool_start_agent(const struct conf *conf, const char *program, uid_t allow_uid, sl_error *error)
{
	sl_error own = { 0 };
	error = error ? error : &own;
	if (!conf->start_agent || answers(conf->agent))
		return SL_OK;
	char folder[480], log[512];
	struct stat before;
	agent_folder(conf, folder, sizeof folder);
	snprintf(log, sizeof log, "%s/agent.log", folder);
	off_t from = stat(log, &before) == 0 ? before.st_size : 0;
	if (start_spawn(conf, program, allow_uid, error) != SL_OK)
		return error->code;
	uint64_t until = clock_mono_ns() + START_WAIT_MS * 1000000ull;
	while (!answers(conf->agent)) {
		if (clock_mono_ns() > until)
			return no_answer(conf, program, log, from, error);
		nanosleep(&(struct timespec){ .tv_nsec = START_POLL_MS * 1000000l }, NULL);
	}
	log_info("started %s, it answers at %s", program, conf->agent);
	return SL_OK;
}
