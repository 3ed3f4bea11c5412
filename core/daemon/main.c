/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sluiced: starts, serves, reloads on HUP, drains and ends on TERM. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/notify.h"
#include "core/daemon/daemon.h"

enum { CONTROL_GRACE_MS = 1000, LAST_TURNS = 100 };

static void print_report(const struct buf *report)
{
	if (report->len)
		fprintf(stderr, "%.*s", (int) report->len, report->data);
}

/* Everything that can be said without serving. */
static int check(const struct daemon *d, struct buf *report)
{
	sl_error error = { 0 };
	bool fine = plugins_check(d->conf, report) == SL_OK;
	struct policy *policy = policy_open(d->conf, true, &error);
	if (!policy)
		buf_printf(report, "%s\n", error.text);
	policy_close(policy);
	return fine && policy ? DAEMON_OK : DAEMON_CONFIG;
}

static void finish(struct mail *mail)
{
	struct daemon *d = (struct daemon *) (void *) ((char *) mail - offsetof(struct daemon, stopped_mail));
	uv_thread_join(&d->stopper);
	rooms_free_gateway(d);
	uv_stop(&d->loop);
}

/* A thread of its own, so that the main loop goes on: requests under way may need it (leases, replicas, health). */
static void stop_gateway(void *arg)
{
	struct daemon *d = arg;
	gateway_stop(d->gateway, (uint64_t) d->conf->drain_ms);
	d->stopped_mail.run = finish;
	mailbox_post(&d->mailbox, &d->stopped_mail);
}

static void stop(struct daemon *d)
{
	if (d->stopping) {
		log_warn("told to stop again: ending at once");
		log_flush();
		_exit(DAEMON_OK);
	}
	d->stopping = true;
	notify_systemd("STOPPING=1");
	log_info("draining: requests under way have %lld s", (long long) d->conf->drain_ms / 1000);
	gateway_ready(d->gateway, false);
	/* The ledger goes on telling the gateway what is durable: held answers end that way. */
	if (uv_thread_create(&d->stopper, stop_gateway, d) != 0)
		uv_stop(&d->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct daemon *d = handle->data;
	if (number != SIGHUP) {
		stop(d);
		return;
	}
	struct buf report = { 0 };
	notify_systemd("RELOADING=1");
	int code = daemon_reload(d, &report);
	for (char *line = report.data, *end = report.data + report.len, *next; line < end; line = next + 1) {
		next = memchr(line, '\n', (size_t) (end - line));
		if (!next)
			break;
		log_warn("%.*s", (int) (next - line), line);
	}
	if (code != SL_OK)
		log_error("reload refused, the configuration %s stays", d->conf->id);
	buf_free(&report);
	notify_systemd("READY=1");
}

static void watch_signals(struct daemon *d)
{
	static const int numbers[] = { SIGHUP, SIGTERM, SIGINT };
	for (size_t i = 0; i < 3; i++) {
		uv_signal_init(&d->loop, &d->signals[i]);
		d->signals[i].data = d;
		uv_signal_start(&d->signals[i], on_signal, numbers[i]);
	}
}

static void say_hello(const struct daemon *d)
{
	char door[300] = "none";
	if (d->conf->n_listen)
		http_address_text(&d->conf->listen[0], door, sizeof door);
	log_info("sluiced " SLUICE_VERSION " serves on %s, control socket %s, configuration %s (%s)", door, d->conf->control,
	         d->conf->id, d->conf->file ? d->conf->file : "none: safe defaults");
	if (!d->conf->file)
		fprintf(stderr,
		        "sluiced " SLUICE_VERSION ", no configuration found: safe defaults, loopback only, data in %s (kept)\n"
		        "  door   http://%s/v1\n"
		        "  next   sluicectl status\n"
		        "         sluicectl config init > " SLUICE_CONF_DIR "/sluice.lua   write down what runs now\n",
		        d->conf->state, door);
}

static void on_control_closed(void *arg)
{
	struct daemon *d = arg;
	uv_stop(&d->loop);
}

/* Rooms are freed when their handles have closed. Nothing is waited for: what is still open after that many turns stays
 * so, and the process ends. */
static void close_loop(struct daemon *d)
{
	if (d->watchdog.loop) { /* it was started */
		for (size_t i = 0; i < 3; i++)
			uv_close((uv_handle_t *) &d->signals[i], NULL);
		uv_close((uv_handle_t *) &d->watchdog, NULL);
	}
	mailbox_close(&d->mailbox);
	int turns = 0;
	while (uv_loop_close(&d->loop) != 0 && turns++ < LAST_TURNS)
		uv_run(&d->loop, UV_RUN_NOWAIT);
	if (turns > LAST_TURNS)
		log_debug("handles were open at the end of the loop");
}

static void end(struct daemon *d)
{
	rooms_close(d);
	plugins_close(d);
	watchdog_free(d);
	close_loop(d);
	rooms_free(d);
}

static int serve(struct daemon *d)
{
	sl_error error = { 0 };
	if (privileges_drop(d, &error) != SL_OK || rooms_open(d, &error) != SL_OK) {
		log_error("%s", error.text);
		d->status = error.code == SL_EINVAL ? DAEMON_CONFIG : DAEMON_FAILED;
		end(d);
		return d->status;
	}
	watch_signals(d);
	watchdog_start(d);
	gateway_ready(d->gateway, true);
	d->ready = true;
	say_hello(d);
	notify_systemd("READY=1");
	uv_run(&d->loop, UV_RUN_DEFAULT);
	/* The control door ends last, so that people can watch the drain. */
	control_close(d->control, CONTROL_GRACE_MS, on_control_closed, d);
	d->control = NULL;
	uv_run(&d->loop, UV_RUN_DEFAULT);
	end(d);
	log_info("ended");
	log_flush();
	return d->status;
}

int main(int argc, char **argv)
{
	/* Bodies of requests come and go at the top of the workers' heaps: giving that memory back to the kernel each time
	 * would cost a page fault for each page of the next one. */
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	static struct daemon daemon; /* zero, and too large for a stack frame's taste */
	struct daemon *d = &daemon;
	int parsed = options_parse(&d->options, argc, argv);
	if (parsed)
		return parsed - 1;
	log_setup("sluiced", SL_LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	struct buf report = { 0 };
	d->started_ms = d->configured_ms = clock_wall_ms();
	d->conf = conf_load(d->options.file, &report);
	int status = d->conf ? DAEMON_OK : DAEMON_CONFIG;
	if (d->conf && d->options.check)
		status = check(d, &report);
	print_report(&report);
	buf_free(&report);
	if (status != DAEMON_OK || d->options.check) {
		if (d->options.check && status == DAEMON_OK)
			printf("%s: fine\n", d->options.file ? d->options.file : "no configuration, safe defaults");
		conf_unref(d->conf);
		return status;
	}
	log_setup("sluiced", (enum sl_log_level) d->conf->log_level);
	if (uv_loop_init(&d->loop) != 0 || mailbox_open(&d->mailbox, &d->loop) != 0) {
		log_error("cannot make an event loop");
		return DAEMON_FAILED;
	}
	return serve(d);
}
