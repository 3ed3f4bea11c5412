/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - asks engines whether they can take requests. */
#include "core/fleet/inner.h"

#include <stdlib.h>

#include "core/base/log.h"
#include "core/base/str.h"

/* An agent of an earlier release cannot say whose a port is. A stranger who has it keeps the engine from listening, so
 * that its lease ends: then an answer counts when the lease still runs this much later. */
enum { CONFIRM_MS = 500 };

static void became_ready(struct fleet *fleet, struct replica *replica)
{
	if (replica->state == FLEET_READY) { /* it was doubted */
		log_info("replica %s answers: it goes on", replica->name);
	} else {
		replica_set_state(replica, FLEET_READY);
		log_info("replica %s is ready at %s", replica->name, replica->listen);
	}
	replica->served = true;
	replica->doubted = false;
	replica->sick = 0;
	replica->why[0] = '\0';
	if (replica->route)
		route_replica_set(replica->route, ROUTE_READY, fleet_now_ms() * 1000);
	fleet_look_in(fleet, 0);
	replica_check_in(fleet, replica, HEALTH_READY_MS);
}

static void unhealthy(struct fleet *fleet, struct replica *replica, int status, const char *why)
{
	if (status)
		snprintf(replica->why, sizeof replica->why, "health check: status %d", status);
	else
		snprintf(replica->why, sizeof replica->why, "health check: %.400s", why ? why : "no answer");
	if (replica->state == FLEET_READY) {
		if (++replica->sick >= FLEET_SICK_AFTER)
			fleet_look_in(fleet, 0);
		replica_check_in(fleet, replica, replica->doubted ? HEALTH_FIRST_MS : HEALTH_READY_MS);
		return;
	}
	replica->confirmed = false;
	replica->health_gap_ms = replica->health_gap_ms * 3 / 2;
	if (replica->health_gap_ms > HEALTH_SLOWEST_MS)
		replica->health_gap_ms = HEALTH_SLOWEST_MS;
	replica_check_in(fleet, replica, replica->health_gap_ms);
}

static void on_owner(void *arg, int code, bool own)
{
	struct owner_wait *wait = arg;
	struct replica *replica = wait->replica;
	free(wait);
	if (!replica)
		return;
	struct fleet *fleet = replica->model->fleet;
	replica->owner = NULL;
	if (replica->state != FLEET_STARTING && !(replica->state == FLEET_READY && replica->doubted))
		return;
	if (code == SL_OK && own) {
		became_ready(fleet, replica);
	} else if (code == SL_OK) {
		char why[256];
		snprintf(why, sizeof why, "%s is answered by a program that is not this replica's", replica->listen);
		if (!strstr(replica->why, why)) /* once, not at every look */
			log_warn("replica %s: %s", replica->name, why);
		unhealthy(fleet, replica, 0, why);
	} else if (code == SL_EINVAL) {
		replica->confirmed = true;
		replica_check_in(fleet, replica, CONFIRM_MS);
	} else {
		unhealthy(fleet, replica, 0, "the agent does not say whose its port is");
	}
}

/* Over TCP anybody on the machine may have taken the port and may answer in the engine's place: the agent knows. */
static void ask_owner(struct fleet *fleet, struct replica *replica)
{
	const char *colon = strrchr(replica->listen, ':');
	struct owner_wait *wait = calloc(1, sizeof *wait);
	if (!wait) {
		unhealthy(fleet, replica, 0, "out of memory");
		return;
	}
	wait->replica = replica;
	replica->owner = wait;
	sl_error error = { 0 };
	if (pool_listens(fleet->pool, replica->lease, (unsigned) strtoul(colon ? colon + 1 : "0", NULL, 10), on_owner, wait,
	                 &error) == SL_OK)
		return;
	free(wait);
	replica->owner = NULL;
	unhealthy(fleet, replica, 0, error.text);
}

static void healthy(struct fleet *fleet, struct replica *replica)
{
	if (replica->state == FLEET_READY && !replica->doubted) {
		replica->sick = 0;
		replica->why[0] = '\0';
		replica_check_in(fleet, replica, HEALTH_READY_MS);
	} else if (!replica->confirmed && !str_starts(str_of(replica->listen), STR("unix:"))) {
		ask_owner(fleet, replica);
	} else {
		became_ready(fleet, replica);
	}
}

static void on_health(void *arg, int status, sl_str body, const char *why)
{
	struct replica *replica = arg;
	struct fleet *fleet = replica->model->fleet;
	(void) body;
	replica->health = NULL;
	if (replica->state != FLEET_STARTING && replica->state != FLEET_READY)
		return;
	if (status == 200)
		healthy(fleet, replica);
	else
		unhealthy(fleet, replica, status, why);
}

static void on_time(uv_timer_t *timer)
{
	struct replica *replica = timer->data;
	struct fleet *fleet = replica->model->fleet;
	replica->health = http_client_send(fleet->loop, &replica->address, "GET", replica->model->health_path, NULL, (sl_str){ 0 },
	                                   HEALTH_TIMEOUT_MS, on_health, replica);
	if (!replica->health)
		unhealthy(fleet, replica, 0, "out of memory");
}

void replica_check_in(struct fleet *fleet, struct replica *replica, uint64_t ms)
{
	if (!replica->timer && !(replica->timer = fleet_timer_new(fleet->loop, replica)))
		return;
	uv_timer_start(replica->timer, on_time, ms, 0);
}

void replica_doubt(struct fleet *fleet, struct replica *replica)
{
	log_warn("replica %s: a request's connection broke. It gets no more until it has answered a health check", replica->name);
	str_copy(replica->why, sizeof replica->why, STR("a request's connection broke: it is being checked"));
	replica_check_stop(replica);
	replica->doubted = true;
	replica->confirmed = false; /* its port may be somebody else's by now */
	replica_check_in(fleet, replica, 0);
}

void replica_check_stop(struct replica *replica)
{
	if (replica->owner)
		replica->owner->replica = NULL;
	replica->owner = NULL;
	if (replica->health)
		http_client_cancel(replica->health);
	replica->health = NULL;
	fleet_timer_close(replica->timer);
	replica->timer = NULL;
}
