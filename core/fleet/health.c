/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - asks engines whether they can take requests. */
#include "core/fleet/inner.h"

#include "core/base/log.h"
#include "core/base/str.h"

/* Over TCP somebody else may have taken the engine's port and may answer in its place; then the engine itself fails
 * to listen and its lease ends. So the first answer counts only when the lease still runs this much later. */
enum { CONFIRM_MS = 500 };

static void became_ready(struct fleet *fleet, struct replica *replica)
{
	replica_set_state(replica, FLEET_READY);
	replica->sick = 0;
	replica->why[0] = '\0';
	log_info("replica %s is ready at %s", replica->name, replica->listen);
	if (replica->route)
		route_replica_set(replica->route, ROUTE_READY, fleet_now_ms() * 1000);
	fleet_look_in(fleet, 0);
	replica_check_in(fleet, replica, HEALTH_READY_MS);
}

static void healthy(struct fleet *fleet, struct replica *replica)
{
	if (replica->state == FLEET_READY) {
		replica->sick = 0;
		replica->why[0] = '\0';
		replica_check_in(fleet, replica, HEALTH_READY_MS);
	} else if (!replica->confirmed && !str_starts(str_of(replica->listen), STR("unix:"))) {
		replica->confirmed = true;
		replica_check_in(fleet, replica, CONFIRM_MS);
	} else {
		became_ready(fleet, replica);
	}
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
		replica_check_in(fleet, replica, HEALTH_READY_MS);
		return;
	}
	replica->confirmed = false;
	replica->health_gap_ms = replica->health_gap_ms * 3 / 2;
	if (replica->health_gap_ms > HEALTH_SLOWEST_MS)
		replica->health_gap_ms = HEALTH_SLOWEST_MS;
	replica_check_in(fleet, replica, replica->health_gap_ms);
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

void replica_check_stop(struct replica *replica)
{
	if (replica->health)
		http_client_cancel(replica->health);
	replica->health = NULL;
	fleet_timer_close(replica->timer);
	replica->timer = NULL;
}
