/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - a lease as JSON: the ledger's record, there and back, and what people see. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/lease/lease.h"

/* The plain members, so that writing and reading cannot differ. */
enum field_type { TEXT, U32, U64, I32, INT, FLAG };
#define FIELD(NAME, TYPE) { #NAME, TYPE, offsetof(struct lease, NAME) }
static const struct field {
	const char *name;
	enum field_type type;
	size_t offset;
} fields[] = {
	FIELD(name, TEXT), FIELD(tenant, TEXT), FIELD(user, TEXT), FIELD(queue, TEXT), FIELD(kind, TEXT),
	FIELD(model, TEXT), FIELD(replica, TEXT), FIELD(uid, U32), FIELD(gid, U32), FIELD(wanted, U32),
	FIELD(memory_bytes, U64), FIELD(time_ms, U64), FIELD(priority, I32), FIELD(preemptible, FLAG),
	FIELD(with_stdin, FLAG), FIELD(detach, FLAG), FIELD(borrowed, FLAG), FIELD(parked, FLAG),
	FIELD(created_ms, U64), FIELD(granted_ms, U64),
	FIELD(started_ms, U64), FIELD(ended_ms, U64), FIELD(wait_ms, U64), FIELD(run_ms, U64), FIELD(exit_code, INT),
	FIELD(charged_ms, U64), FIELD(charged_until_ms, U64), FIELD(paused_ms, U64),
	FIELD(signal, INT), FIELD(memory_peak_bytes, U64), FIELD(oom, FLAG), FIELD(output_lost_bytes, U64),
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

static void set_int(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t) value));
}

static void set_text(json_t *object, const char *key, const char *text)
{
	json_set_str(object, key, str_of(text));
}

static void set_field(json_t *object, const struct lease *lease, const struct field *f)
{
	const char *at = (const char *) lease + f->offset;
	switch (f->type) {
	case TEXT: set_text(object, f->name, at); break;
	case U32: set_int(object, f->name, *(const uint32_t *) (const void *) at); break;
	case U64: set_int(object, f->name, *(const uint64_t *) (const void *) at); break;
	case I32: json_object_set_new(object, f->name, json_integer(*(const int32_t *) (const void *) at)); break;
	case INT: json_object_set_new(object, f->name, json_integer(*(const int *) (const void *) at)); break;
	case FLAG: json_object_set_new(object, f->name, json_boolean(*(const bool *) (const void *) at)); break;
	}
}

json_t *lease_record(const struct lease *lease, struct lease_now now)
{
	char id[LEASE_ID_MAX];
	bool over = lease_state_over(lease->state);
	json_t *object = json_object();
	lease_id(lease->number, id);
	set_text(object, "lease", id);
	set_text(object, "state", lease_state_name(lease->state));
	json_object_set_new(object, "ended", json_boolean(over));
	set_text(object, "reason", lease->reason);
	if (lease->final != LEASE_REQUESTED)
		set_text(object, "final", lease_state_name(lease->final));
	for (size_t i = 0; i < FIELDS; i++)
		set_field(object, lease, &fields[i]);
	/* The lengths up to now, not up to the last change. */
	set_int(object, "wait_ms", lease_wait_ms(lease, now));
	set_int(object, "run_ms", lease_run_ms(lease, now));
	set_int(object, "device_ms", lease_device_ms(lease, now));
	json_t *places = json_array();
	for (uint32_t i = 0; i < lease->n_places; i++) {
		json_t *place = json_object();
		set_text(place, "uuid", lease->places[i].uuid);
		set_text(place, "name", lease->places[i].name);
		set_text(place, "kind", lease->places[i].kind);
		json_object_set_new(place, "price", json_integer(lease->places[i].price));
		json_array_append_new(places, place);
	}
	json_object_set_new(object, "devices", places);
	json_object_set(object, "argv", lease->argv);
	if (lease->env && !over)
		json_object_set(object, "env", lease->env);
	if (lease->cwd)
		set_text(object, "cwd", lease->cwd);
	return object;
}

static int bad(sl_error *error, const char *name)
{
	return error_set(error, SL_EINVAL, "a stored lease has no proper '%s'", name);
}

/* An absent member keeps its zero: records of an older version lack what came later. */
static int get_field(struct lease *lease, const json_t *record, const struct field *f, sl_error *error)
{
	char *at = (char *) lease + f->offset;
	const json_t *member = json_object_get(record, f->name);
	if (!member)
		return SL_OK;
	if (f->type == TEXT) {
		if (!json_is_string(member) ||
		    !str_copy(at, SL_NAME_MAX, (sl_str){ json_string_value(member), json_string_length(member) }))
			return bad(error, f->name);
		return SL_OK;
	}
	if (f->type == FLAG) {
		*(bool *) at = json_is_true(member);
		return json_is_boolean(member) ? SL_OK : bad(error, f->name);
	}
	json_int_t value = json_integer_value(member);
	bool in_range = f->type == U32 ? value >= 0 && value <= UINT32_MAX
	              : f->type == U64 ? value >= 0 : value >= INT32_MIN && value <= INT32_MAX;
	if (!json_is_integer(member) || !in_range)
		return bad(error, f->name);
	switch (f->type) {
	case U32: *(uint32_t *) (void *) at = (uint32_t) value; break;
	case U64: *(uint64_t *) (void *) at = (uint64_t) value; break;
	case I32: *(int32_t *) (void *) at = (int32_t) value; break;
	default: *(int *) (void *) at = (int) value; break;
	}
	return SL_OK;
}

static int get_places(struct lease *lease, const json_t *record, sl_error *error)
{
	const json_t *places = json_object_get(record, "devices"), *place;
	size_t i, n = json_array_size(places);
	if (n != 0 && n != lease->wanted)
		return bad(error, "devices");
	json_array_foreach(places, i, place) {
		struct lease_place *out = &lease->places[i];
		if (!str_copy(out->uuid, sizeof out->uuid, str_of(json_get_str(place, "uuid", ""))) || !out->uuid[0] ||
		    !str_copy(out->name, sizeof out->name, str_of(json_get_str(place, "name", ""))) ||
		    !str_copy(out->kind, sizeof out->kind, str_of(json_get_str(place, "kind", ""))) ||
		    (out->price = json_get_int(place, "price", 0)) < 0)
			return bad(error, "devices");
	}
	lease->n_places = (uint32_t) n;
	return SL_OK;
}

static int restore_members(struct lease *lease, const json_t *record, sl_error *error)
{
	lease->number = lease_number(str_of(json_get_str(record, "lease", "")));
	if (lease->number == 0)
		return bad(error, "lease");
	if (!lease_state_parse(json_get_str(record, "state", NULL), &lease->state))
		return bad(error, "state");
	const char *final = json_get_str(record, "final", NULL);
	if (final && !lease_state_parse(final, &lease->final))
		return bad(error, "final");
	lease->exit_code = -1;
	for (size_t i = 0; i < FIELDS; i++)
		if (get_field(lease, record, &fields[i], error) != SL_OK)
			return error->code;
	if (lease->wanted > LEASE_DEVICES_MAX)
		return bad(error, "wanted");
	if (lease->wanted && !(lease->places = calloc(lease->wanted, sizeof *lease->places)))
		return error_set(error, SL_ENOMEM, "out of memory");
	if (get_places(lease, record, error) != SL_OK)
		return error->code;
	if (lease->state >= LEASE_GRANTED && lease->state <= LEASE_RELEASING && lease->n_places != lease->wanted)
		return bad(error, "devices");
	str_copy(lease->reason, sizeof lease->reason, str_of(json_get_str(record, "reason", "")));
	json_t *argv = json_object_get(record, "argv"), *env = json_object_get(record, "env");
	if (!json_is_array(argv) || json_array_size(argv) == 0)
		return bad(error, "argv");
	lease->argv = json_incref(argv);
	lease->env = json_is_object(env) ? json_incref(env) : NULL;
	const char *cwd = json_get_str(record, "cwd", NULL);
	if (cwd && !(lease->cwd = str_dup(str_of(cwd))))
		return error_set(error, SL_ENOMEM, "out of memory");
	return SL_OK;
}

int lease_restore(struct lease *lease, const json_t *record, struct lease_now now, sl_error *error)
{
	sl_error own;
	*lease = (struct lease){ 0 };
	int code = restore_members(lease, record, error ? error : &own);
	if (code != SL_OK) {
		lease_clear(lease);
		return code;
	}
	/* The monotonic clock is a new one: what went on while nobody looked is measured by the wall clock, once. */
	lease->since_mono_ms = now.mono_ms;
	uint64_t since = lease->created_ms + lease->wait_ms;
	if ((lease->state == LEASE_REQUESTED || lease->state == LEASE_QUEUED) && now.wall_ms > since)
		lease->wait_ms += now.wall_ms - since;
	return SL_OK;
}

static void set_time(json_t *object, const char *key, uint64_t wall_ms)
{
	char text[32];
	if (wall_ms)
		clock_rfc3339(wall_ms, text);
	json_object_set_new(object, key, wall_ms ? json_string(text) : json_null());
}

static void set_decimal_s(json_t *object, const char *key, uint64_t ms)
{
	json_object_set_new(object, key, json_real((double) ms / 1000));
}

/* Milliseconds as whole and exact seconds in text would be no JSON number: three decimals are exact enough. */
static void set_lengths(json_t *object, const struct lease *lease, struct lease_now now)
{
	bool over = lease_state_over(lease->state);
	uint64_t until = over ? lease->ended_ms : now.wall_ms;
	set_decimal_s(object, "age_s", until > lease->created_ms ? until - lease->created_ms : 0);
	set_decimal_s(object, "wait_s", lease_wait_ms(lease, now));
	set_decimal_s(object, "run_s", lease_run_ms(lease, now));
	set_decimal_s(object, "gpu_s", lease_device_ms(lease, now));
	set_decimal_s(object, "time_s", lease->time_ms);
}

json_t *lease_json(const struct lease *lease, struct lease_now now, const char *reason)
{
	char id[LEASE_ID_MAX], cost[MONEY_TEXT_MAX];
	json_t *object = json_object(), *where = json_array(), *uuids = json_array();
	bool ran = lease->ended_ms && lease->started_ms;
	lease_id(lease->number, id);
	set_text(object, "lease", id);
	set_text(object, "name", lease->name);
	set_text(object, "tenant", lease->tenant);
	set_text(object, "user", lease->user);
	set_text(object, "queue", lease->queue);
	set_int(object, "gpus", lease->wanted);
	set_text(object, "kind", lease->kind);
	set_int(object, "memory_bytes", lease->memory_bytes);
	set_text(object, "state", lease_state_name(lease->state));
	set_text(object, "reason", reason ? reason : lease->reason);
	for (uint32_t i = 0; i < lease->n_places; i++) {
		json_array_append_new(where, json_string(lease->places[i].name));
		json_array_append_new(uuids, json_string(lease->places[i].uuid));
	}
	json_object_set_new(object, "where", where);
	json_object_set_new(object, "devices", uuids);
	set_time(object, "created_at", lease->created_ms);
	set_time(object, "started_at", lease->started_ms);
	set_time(object, "ended_at", lease->ended_ms);
	set_time(object, "ends_at", lease_ends_ms(lease));
	set_lengths(object, lease, now);
	json_object_set_new(object, "exit_code", ran && lease->exit_code >= 0 ? json_integer(lease->exit_code) : json_null());
	json_object_set_new(object, "signal", ran && lease->signal ? json_integer(lease->signal) : json_null());
	json_object_set(object, "argv", lease->argv);
	set_text(object, "holder", lease->model[0] ? "replica" : "job");
	set_text(object, "model", lease->model);
	set_text(object, "replica", lease->replica);
	money_text(lease_cost(lease, now), 15, cost);
	set_text(object, "cost", cost);
	json_object_set_new(object, "priority", json_integer(lease->priority));
	json_object_set_new(object, "detach", json_boolean(lease->detach));
	set_int(object, "memory_peak_bytes", lease->memory_peak_bytes);
	set_int(object, "output_lost_bytes", lease->output_lost_bytes);
	json_object_set_new(object, "oom", json_boolean(lease->oom));
	return object;
}
