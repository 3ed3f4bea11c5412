/* SPDX-License-Identifier: Apache-2.0 */
/* door.c - a control door on a loop of its own thread, and a client for it. */
#include "tests/unit/control/door.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/loop/mailbox.h"

atomic_bool door_ready = true;
static atomic_bool door_drained;
atomic_int door_reload_code;

static struct {
	char folder[64], socket[96];
	unsigned port;
	uv_loop_t loop;
	struct mailbox mailbox;
	pthread_t thread;
	uv_sem_t ended;
	struct conf *conf;
	struct policy *policy;
	struct identity *identity;
	struct quota *quota;
	struct ledger *ledger;
	struct control *control;
} door;

struct identity *door_identity(void)
{
	return door.identity;
}

struct quota *door_quota(void)
{
	return door.quota;
}

unsigned door_metrics_port(void)
{
	return door.port;
}

/* what main would say */

static int on_reload(void *arg, struct buf *report, char config_id[16])
{
	(void) arg;
	int code = atomic_load(&door_reload_code);
	strcpy(config_id, "abcd1234");
	buf_puts(report, code == SL_OK ? "sluice.lua:3: a warning\n" : "sluice.lua:3: one\n\nsluice.lua:4: tw\xff\n");
	return code;
}

static void on_drain(void *arg, bool on)
{
	(void) arg;
	atomic_store(&door_ready, !on);
	atomic_store(&door_drained, on);
}

static bool is_drained(void *arg)
{
	(void) arg;
	return atomic_load(&door_drained);
}

static bool is_ready(void *arg, char *why, size_t room)
{
	(void) arg;
	snprintf(why, room, "draining");
	return atomic_load(&door_ready);
}

static json_t *gateway_status(void *arg)
{
	(void) arg;
	return json_pack("{s:s, s:i}", "door", "http://127.0.0.1:8080", "workers", 2);
}

static json_t *plugins(void *arg)
{
	(void) arg;
	return json_pack("[{s:s}]", "name", "fake");
}

struct commit_mail {
	struct mail mail;
	uint64_t seq;
};

static void on_commit(struct mail *mail)
{
	struct commit_mail *commit = (struct commit_mail *) mail;
	if (door.control)
		control_committed(door.control, commit->seq);
	free(commit);
}

static void on_committed(void *arg, uint64_t seq)
{
	(void) arg;
	struct commit_mail *commit = malloc(sizeof *commit);
	*commit = (struct commit_mail){ .mail.run = on_commit, .seq = seq };
	if (!mailbox_post(&door.mailbox, &commit->mail))
		free(commit);
}

static unsigned free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, len) != 0 || getsockname(fd, (struct sockaddr *) &address, &len) != 0)
		return 0;
	close(fd);
	return ntohs(address.sin_port);
}

static bool load_conf(void)
{
	char path[96];
	struct buf report = { 0 };
	door.port = free_port();
	setenv("SLUICE_LUA_PATH", TOP_SRCDIR "/lua", 1);
	snprintf(path, sizeof path, "%s/sluice.lua", door.folder);
	FILE *file = fopen(path, "w");
	if (!file)
		return false;
	char policy[96];
	snprintf(policy, sizeof policy, "%s/policy.lua", door.folder);
	FILE *rules = fopen(policy, "w");
	if (!rules)
		return false;
	fputs("function lease(event)\n"
	      "  if event.user == 'eve' then return deny(429, 'not_today', 'Ask ' .. event.tenant .. ' tomorrow.') end\n"
	      "  if event.name == 'moved' then return { queue = 'models', priority = 9, limit = 30 } end\n"
	      "  if event.name == 'long' then return { limit = 1000000 } end\n"
	      "  if event.name == 'broken' then error('oh') end\n"
	      "end\n", rules);
	fclose(rules);
	fprintf(file,
	        "control \"%s\"\nmetrics \"127.0.0.1:%u\"\nstate \"%s\"\ncurrency \"EUR\"\n"
	        "queue \"research\" { time_max = \"1h\" }\nqueue \"models\" {}\n"
	        "tier \"free\" { requests = { 20, per = \"minute\" }, cost = { 5, per = \"month\", scope = \"tenant\" } }\n"
	        "tenant \"physics\" { tier = \"free\", queues = { \"research\" } }\n"
	        "model \"tiny\" { endpoints = { \"http://127.0.0.1:1\" } }\nmodel \"big\" { endpoints = { \"http://127.0.0.1:1\" } }\n"
	        "model \"org/large\" { endpoints = { \"http://127.0.0.1:1\" } }\npolicy \"policy.lua\"\n",
	        door.socket, door.port, door.folder);
	fclose(file);
	door.conf = conf_load(path, &report);
	if (!door.conf)
		fprintf(stderr, "%.*s\n", (int) report.len, report.data);
	buf_free(&report);
	return door.conf != NULL;
}

static void *run_loop(void *arg)
{
	(void) arg;
	uv_run(&door.loop, UV_RUN_DEFAULT);
	uv_sem_post(&door.ended);
	/* What base/hash keeps for each thread is no leak while the thread lives. */
	for (;;)
		pause();
	return NULL;
}

static bool open_control(sl_error *error)
{
	struct plugin *auth[2] = { fake_plugin(0), fake_plugin(1) };
	door.policy = policy_open(door.conf, false, error);
	if (!door.policy)
		return false;
	struct control_options options = { .policy = door.policy,
		.loop = &door.loop, .conf = door.conf, .identity = door.identity, .ledger = door.ledger, .quota = door.quota, .auth = auth,
		.n_auth = 2, .callbacks = { on_reload, on_drain, is_drained, is_ready, gateway_status, plugins },
	};
	door.control = control_open(&options, error);
	return door.control != NULL;
}

int door_open(void)
{
	char journal[96];
	sl_error error = { 0 };
	log_setup("test", SL_LOG_ERROR);
	fakes_reset();
	strcpy(door.folder, "/tmp/test-control.XXXXXX");
	if (!mkdtemp(door.folder))
		return -1;
	snprintf(door.socket, sizeof door.socket, "%s/control.sock", door.folder);
	snprintf(journal, sizeof journal, "%s/journal", door.folder);
	if (!load_conf())
		return -1;
	door.identity = identity_new(0);
	door.quota = quota_new(1000);
	identity_configure(door.identity, door.conf);
	uv_loop_init(&door.loop);
	mailbox_open(&door.mailbox, &door.loop);
	struct ledger_options ledger = { .folder = journal, .segment_bytes = 1 << 20, .store = &fake_store_ops,
		                         .store_self = &fake_store, .committed = on_committed };
	door.ledger = ledger_open(&ledger, &error);
	if (!door.ledger || !open_control(&error)) {
		fprintf(stderr, "%s\n", error.text);
		return -1;
	}
	uv_sem_init(&door.ended, 0);
	return pthread_create(&door.thread, NULL, run_loop, NULL);
}

static void on_control_closed(void *arg)
{
	(void) arg;
	mailbox_close(&door.mailbox);
}

static void start_close(void *arg)
{
	(void) arg;
	struct control *control = door.control;
	door.control = NULL;
	control_close(control, 100, on_control_closed, NULL);
}

void door_close(void)
{
	char command[128];
	door_run(start_close, NULL);
	uv_sem_wait(&door.ended);
	atomic_store(&fake_store.slow, false); /* a question that comes back when the door is closed */
	ledger_close(door.ledger);
	if (uv_loop_close(&door.loop) != 0)
		fprintf(stderr, "handles are left on the loop\n");
	identity_free(door.identity);
	quota_free(door.quota);
	policy_close(door.policy);
	conf_unref(door.conf);
	fakes_reset();
	json_decref(fake_pool.leases);
	snprintf(command, sizeof command, "rm -rf '%s'", door.folder);
	if (system(command) != 0)
		fprintf(stderr, "%s failed\n", command);
}

struct job {
	struct mail mail;
	void (*run)(void *arg);
	void *arg;
	uv_sem_t done;
};

static void on_job(struct mail *mail)
{
	struct job *job = (struct job *) mail;
	job->run(job->arg);
	uv_sem_post(&job->done);
}

void door_run(void (*run)(void *arg), void *arg)
{
	struct job job = { .mail.run = on_job, .run = run, .arg = arg };
	uv_sem_init(&job.done, 0);
	mailbox_post(&door.mailbox, &job.mail);
	uv_sem_wait(&job.done);
	uv_sem_destroy(&job.done);
}

/* the client */

static int send_request(int fd, const char *who, const char *method, const char *path, const char *body)
{
	struct buf text = { 0 };
	buf_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", method, path);
	if (who)
		buf_printf(&text, "Authorization: %s\r\n", who);
	if (body)
		buf_printf(&text, "Content-Length: %zu\r\n", strlen(body));
	buf_puts(&text, "\r\n");
	buf_puts(&text, body ? body : "");
	ssize_t n = send(fd, text.data, text.len, MSG_NOSIGNAL);
	bool whole = n == (ssize_t) text.len;
	buf_free(&text);
	return whole ? 0 : -1;
}

int door_connect(const char *who, const char *method, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strcpy(address.sun_path, door.socket);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *) &address, sizeof address) != 0 || send_request(fd, who, method, path, NULL) != 0)
		perror("connect");
	return fd;
}

bool door_read_until(int fd, const char *until, char **text)
{
	size_t len = *text ? strlen(*text) : 0;
	for (int tries = 0; tries < 500; tries++) {
		if (*text && strstr(*text, until))
			return true;
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, 10) <= 0)
			continue;
		*text = realloc(*text, len + 65536 + 1);
		ssize_t n = read(fd, *text + len, 65536);
		if (n <= 0)
			return false;
		len += (size_t) n;
		(*text)[len] = '\0';
	}
	return false;
}

/* Chunks joined, in place. */
static void join_chunks(char *body)
{
	char *out = body, *at = body;
	for (;;) {
		size_t len = strtoul(at, &at, 16);
		at = strstr(at, "\r\n");
		if (!len || !at)
			break;
		memmove(out, at + 2, len);
		out += len;
		at += 2 + len + 2;
	}
	*out = '\0';
}

static struct answer read_answer(int fd)
{
	struct answer answer = { 0 };
	struct buf text = { 0 };
	char piece[65536];
	for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
		buf_put(&text, piece, (size_t) n);
	close(fd);
	buf_put(&text, "", 1);
	char *end = strstr(text.data, "\r\n\r\n");
	answer.status = text.len > 12 ? atoi(text.data + 9) : 0;
	answer.body = strdup(end ? end + 4 : "");
	if (end && strstr(text.data, "ransfer-") && strstr(text.data, "chunked"))
		join_chunks(answer.body);
	answer.json = json_loads(answer.body, JSON_DECODE_ANY, NULL);
	buf_free(&text);
	return answer;
}

struct answer door_call(const char *who, const char *method, const char *path, const char *body)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strcpy(address.sun_path, door.socket);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *) &address, sizeof address) != 0 || send_request(fd, who, method, path, body) != 0)
		perror("connect");
	return read_answer(fd);
}

struct answer door_call_tcp(const char *method, const char *path)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t) door.port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *) &address, sizeof address) != 0 || send_request(fd, NULL, method, path, NULL) != 0)
		perror("connect");
	return read_answer(fd);
}

void answer_free(struct answer *answer)
{
	free(answer->body);
	json_decref(answer->json);
}
