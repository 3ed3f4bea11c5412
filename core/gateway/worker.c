/* SPDX-License-Identifier: Apache-2.0 */
/* worker.c - a worker's loop: its arena, the end of each batch, the timeout wheel, generations. */
#include "core/gateway/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/str.h"

enum { EVENTS_MAX = 256 };

struct overflow {
	struct overflow *next;
	max_align_t data[];
};

void worker_event(struct worker *w)
{
	w->now_ms = uv_now(&w->loop);
}

void worker_dirty(struct worker *w, struct gateway_socket *s)
{
	s->dirty = true;
	s->next_dirty = w->dirty;
	w->dirty = s;
}

void worker_flush(struct worker *w)
{
	while (w->dirty) {
		struct gateway_socket *s = w->dirty;
		w->dirty = s->next_dirty;
		s->dirty = false;
		socket_flush(s);
	}
	w->arena_used = 0;
	w->late_bytes = 0;
	while (w->overflow) {
		struct overflow *block = w->overflow;
		w->overflow = block->next;
		free(block);
	}
}

char *worker_alloc(struct worker *w, size_t size)
{
	if (WORKER_ARENA - w->arena_used >= size) {
		char *memory = w->arena + w->arena_used;
		w->arena_used += size;
		return memory;
	}
	struct overflow *block = malloc(sizeof *block + size);
	if (!block)
		return NULL;
	block->next = w->overflow;
	w->overflow = block;
	return (char *) block->data;
}

char *worker_read_room(struct worker *w, size_t *room)
{
	if (WORKER_ARENA - w->arena_used < WORKER_READ)
		worker_flush(w);
	*room = WORKER_ARENA - w->arena_used;
	if (*room > WORKER_READ)
		*room = WORKER_READ;
	return w->arena + w->arena_used;
}

void worker_read_done(struct worker *w, size_t used)
{
	w->arena_used += used;
}

/* Sends what a batch has gathered, and frees what it has closed. */
static void end_batch(struct worker *w)
{
	worker_flush(w);
	while (w->closed) {
		struct gateway_socket *s = w->closed;
		w->closed = s->next_closed;
		w->open_sockets--;
		s->calls->closed(s);
	}
}

/* Those that had more than was taken of them: each once. */
static void look_again(struct worker *w)
{
	struct gateway_socket *list = w->again;
	w->again = NULL;
	if (list)
		list->again_link = &list;
	while (list) {
		struct gateway_socket *s = list;
		list = s->again_next;
		if (list)
			list->again_link = &list;
		s->again_link = NULL;
		socket_event(s, 0);
	}
}

/* Connections are watched by an epoll of our own, edge-triggered, as libuv cannot: told once, never asked again. The
 * loop of libuv is one more thing to watch in it. */
void worker_run(struct worker *w)
{
	struct epoll_event events[EVENTS_MAX];
	bool loop_ready = true;
	for (;;) {
		if (loop_ready || uv_backend_timeout(&w->loop) == 0)
			uv_run(&w->loop, UV_RUN_NOWAIT);
		end_batch(w);
		if (!uv_loop_alive(&w->loop) && !w->open_sockets)
			break;
		int wait_ms = w->again ? 0 : uv_backend_timeout(&w->loop);
		int n = epoll_wait(w->epoll_fd, events, EVENTS_MAX, wait_ms);
		uv_update_time(&w->loop);
		worker_event(w);
		loop_ready = n <= 0;
		look_again(w);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				socket_event(events[i].data.ptr, events[i].events);
			else
				loop_ready = true;
		}
	}
}

void worker_wheel_put(struct worker *w, struct gateway_socket *s)
{
	uint64_t slot = s->deadline_ms / WHEEL_MS + 1;
	if (slot < w->wheel_at)
		slot = w->wheel_at;
	if (slot >= w->wheel_at + WHEEL_SLOTS)
		slot = w->wheel_at + WHEEL_SLOTS - 1; /* farther than one turn: looked at again then */
	s->wheel_due_ms = slot * WHEEL_MS;
	struct gateway_socket **head = &w->wheel[slot % WHEEL_SLOTS];
	s->wheel_next = *head;
	if (s->wheel_next)
		s->wheel_next->wheel_link = &s->wheel_next;
	s->wheel_link = head;
	*head = s;
}

static void run_slot(struct worker *w, uint64_t slot)
{
	struct gateway_socket *list = w->wheel[slot % WHEEL_SLOTS];
	w->wheel[slot % WHEEL_SLOTS] = NULL;
	if (list)
		list->wheel_link = &list;
	while (list) {
		struct gateway_socket *s = list;
		list = s->wheel_next;
		if (list)
			list->wheel_link = &list;
		s->wheel_link = NULL;
		if (s->deadline_ms == 0)
			continue;
		if (s->deadline_ms > w->now_ms) {
			worker_wheel_put(w, s);
		} else {
			s->deadline_ms = 0;
			s->calls->expired(s);
		}
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct worker *w = timer->data;
	worker_event(w);
	atomic_fetch_add_explicit(&w->ticks, 1, memory_order_relaxed);
	/* After a long pause each slot needs one visit only. */
	uint64_t now_slot = w->now_ms / WHEEL_MS;
	if (now_slot > w->wheel_at + WHEEL_SLOTS)
		w->wheel_at = now_slot - WHEEL_SLOTS;
	while (w->wheel_at <= now_slot)
		run_slot(w, w->wheel_at++);
	for (unsigned i = 0; i < w->gateway->options.n_auth && w->index == 0; i++)
		plugin_token_expire(w->gateway->options.auth[i], clock_mono_ns());
	if (w->draining)
		drain_step(w);
}

static void on_commit(uv_async_t *async)
{
	struct worker *w = async->data;
	worker_event(w);
	settle_release_held(w, atomic_load(&w->gateway->committed));
}

struct generation *generation_ref(struct generation *g)
{
	g->refs++;
	return g;
}

void generation_unref(struct generation *g)
{
	if (!g || --g->refs > 0)
		return;
	policy_close(g->policy);
	conf_unref(g->conf);
	body_strip_free(g->strip);
	free(g->route);
	free(g);
}

struct route_model *worker_route(struct worker *w, struct generation *g, const struct conf_model *model)
{
	struct route_model **known = &g->route[model - g->conf->models];
	if (!*known)
		*known = route_model(w->gateway->options.route, str_of(model->name), true);
	return *known;
}

bool worker_open(struct worker *w)
{
	w->arena = aligned_alloc(4096, WORKER_ARENA + 4096);
	w->event_scratch = malloc(EVENT_MAX + WORKER_READ); /* touched only where such events come */
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!w->arena || !w->event_scratch || w->epoll_fd < 0 || uv_loop_init(&w->loop) != 0)
		return false;
	memset(w->arena + WORKER_ARENA, 0, 4096);
	w->held_last = &w->held_first;
	w->retry_tokens = 3;
	w->tick.data = w->commit_async.data = w;
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, uv_backend_fd(&w->loop), &event) != 0)
		return false;
	uv_timer_init(&w->loop, &w->tick);
	uv_timer_start(&w->tick, on_tick, WHEEL_MS, WHEEL_MS);
	worker_event(w);
	w->wheel_at = w->now_ms / WHEEL_MS;
	return uv_async_init(&w->loop, &w->commit_async, on_commit) == 0 && mailbox_open(&w->mailbox, &w->loop) == 0;
}

void worker_shut(struct worker *w)
{
	w->shut = true;
	atomic_store_explicit(&w->ticks, TICKS_ENDED, memory_order_relaxed);
	uv_close((uv_handle_t *) &w->tick, NULL);
	uv_close((uv_handle_t *) &w->commit_async, NULL);
	mailbox_close(&w->mailbox);
}

void worker_free(struct worker *w)
{
	for (struct request *r = w->free_requests, *next; r; r = next) {
		next = r->next;
		buf_free(&r->text);
		free(r);
	}
	generation_unref(w->generation);
	generation_unref(w->prepared);
	buf_free(&w->scratch);
	free(w->listeners);
	free(w->event_scratch);
	if (w->arena && w->epoll_fd >= 0)
		close(w->epoll_fd);
	free(w->arena);
	w->arena = NULL;
}
