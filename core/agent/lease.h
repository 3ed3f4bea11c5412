/* SPDX-License-Identifier: Apache-2.0 */
/* lease.h - a lease in the agent: a program on devices, from its start until it is forgotten. */
#ifndef CORE_AGENT_LEASE_H
#define CORE_AGENT_LEASE_H

#include "core/agent/agent.h"

enum lease_state {
	LEASE_STARTING,  /* devices are being prepared, the supervisor is being started */
	LEASE_RUNNING,
	LEASE_STOPPING,  /* TERM was sent, or the program has ended and others of its tree have not */
	LEASE_RELEASING, /* nothing is left of the tree; the backend has the devices */
	LEASE_ENDED
};

/* Beside LEASE_RUNNING, and for devices also once it ends. */
enum lease_pause {
	LEASE_GOES,        /* its devices are its own */
	LEASE_SUSPENDING,  /* they still are */
	LEASE_SUSPENDED,   /* off them, its processes stand still */
	LEASE_RESUMING     /* it has others, `target`, and is on the way to them */
};

enum { LEASE_WRITERS_MAX = 8 };

/* One who writes to the program's input, and how much of it went through. Lies in a file as it is. */
struct lease_writer {
	uint64_t id, taken;
};

/* A watched pidfd. */
struct lease_watch {
	int fd; /* -1: none */
	uv_poll_t poll;
	bool open;
};

struct lease {
	struct agent *agent;
	struct lease *next;
	char folder[PATH_MAX];
	enum lease_state state;
	enum lease_pause pause;
	struct tree tree; /* .lease is the name */
	json_t *devices;  /* that it has, or was suspended on */
	json_t *target;   /* that it is to go on on, NULL: none */
	unsigned uid, gid;
	bool with_stdin, stdin_open;
	uint64_t log_bytes, limit_ms, notice_ms;
	uint64_t hold_ms; /* from the start: so long its output waits for a reader who is to come */
	uint64_t started_ms, started_boot_ms; /* Unix time; since boot */
	uint64_t paused_ms;      /* suspended for so long until now ... */
	uint64_t paused_boot_ms; /* ... and since then (since boot); 0: it is not suspended */
	/* The end */
	uint64_t kill_at_ms, killed_ms; /* since boot; 0: not yet */
	bool stop_asked;
	uint64_t ended_ms;
	int exit_code, signal;
	char reason[SL_ERROR_TEXT];
	uint64_t memory_peak, output_lost;
	bool oom;
	json_t *faulty;
	/* At work */
	struct log_file out, err;
	struct lease_watch supervisor_watch, job_watch;
	uv_timer_t timer;
	struct reply start_reply;
	struct frame_connection *report; /* to the supervisor until it has reported */
	json_t *spec;                    /* of the program while starting */
	int lock;                        /* lock file while starting, -1 afterwards */
	size_t backends_left;            /* to prepare */
	int stdin_fd;
	struct buf stdin_rest;
	uv_poll_t stdin_poll;
	bool stdin_poll_open, stdin_eof;
	struct lease_writer writers[LEASE_WRITERS_MAX]; /* the last that wrote comes first */
	int writers_fd;                  /* where they are kept, -1: not looked at yet */
	struct pause *work; /* its suspension or resumption, NULL: none is under way */
	unsigned handles; /* libuv handles that are open */
	bool gone;        /* free when the last handle has closed */
};

/* lease.c: the table, and what a lease looks like to the outside. */
struct lease *lease_find(const struct agent *a, const char *name);
/* The lease that has the device (a JSON string) and has not ended, NULL: none. */
const struct lease *lease_using(const struct agent *a, const json_t *uuid);
bool lease_name_ok(const char *name);
/* The devices that it has now, an empty array while it is suspended. Borrowed. */
const json_t *lease_devices(const struct lease *l);
/* How long it has been suspended in all. */
uint64_t lease_paused_ms(const struct lease *l);
/* A new entry in state LEASE_STARTING. NULL: out of memory. */
struct lease *lease_new(struct agent *a, const char *name);
json_t *lease_json(const struct lease *l);
/* Out of the table; the struct goes when its handles have closed. Files stay. */
void lease_drop(struct lease *l);
/* Ended only: record, logs and entry go. */
int lease_forget(struct lease *l, sl_error *error);

/* lease_state.c: what a later agent needs to know. */
int lease_save(const struct lease *l, sl_error *error);
/* Finds the leases of an earlier agent and goes on with them. */
void lease_adopt_all(struct agent *a);

/* launch.c: from the request to the running program. Answers by itself. */
void lease_start(struct agent *a, struct reply reply, const json_t *request);

/* lease_end.c: watching and ending. */
void lease_watch_begin(struct lease *l); /* state LEASE_RUNNING, supervisor and job are known */
void lease_stop(struct lease *l, uint64_t notice_ms, const char *reason);
/* Its time limit runs (again). */
void lease_arm_limit(struct lease *l);
/* The tree must go now, whatever is left of it; leads to LEASE_RELEASING. */
void lease_finish(struct lease *l);
int lease_signal(struct lease *l, int signal, sl_error *error);

/* pause.c: off its devices, and back. SL_OK: the outcome follows as an event, also where it is so already. */
int lease_suspend(struct lease *l, uint64_t timeout_ms, sl_error *error);
/* On these devices of the same backend; takes over `devices`. */
int lease_resume(struct lease *l, json_t *devices, uint64_t timeout_ms, sl_error *error);
/* What an earlier agent had begun is gone through with. */
void pause_adopt(struct lease *l);
/* The lease goes: nothing of its work may touch it any more. */
void pause_forget(struct lease *l);

/* lease_input.c: the program's input. All of the data or none is taken: what the pipe does not hold waits here, and
 * until it is through the next data is refused with SL_EAGAIN. */
int lease_input(struct lease *l, sl_str data, bool eof, sl_error *error);
/* The same for a writer that counts: `from` is the place of the data in all that this writer sends. What was taken
 * before is left out, so that a piece whose answer was lost is sent again; of the rest the pipe takes what it holds.
 * *taken: all before this place is through. SL_EAGAIN: nothing was taken now. */
struct lease_piece {
	uint64_t writer, from;
	sl_str data;
	bool eof;
};
int lease_input_from(struct lease *l, const struct lease_piece *piece, uint64_t *taken, sl_error *error);
void lease_input_close(struct lease *l);

/* lease_output.c: somebody has read all of its output before these offsets (-1: does not read that one); the program's
 * output stays near that for so long, 0: no more. */
int lease_pace(struct lease *l, int64_t out, int64_t err, uint64_t hold_ms, sl_error *error);

/* Handles of a lease: each open one counts. */
void lease_handle_closed(uv_handle_t *handle);

#endif
