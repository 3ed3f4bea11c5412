/* SPDX-License-Identifier: Apache-2.0 */
/* mark.c - what is remembered of devices over a restart: drained by an operator, faulty until somebody looks.
 *
 * An object "device/UUID" in the ledger, {device, drain, faulty, reason}; deleted when there is nothing to remember. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

static const char prefix[] = "device/";

static char *text_of(const struct device *d)
{
	if (!d->drain && !d->faulty)
		return str_dup(STR(""));
	json_t *object = json_object();
	json_set_str(object, "device", str_of(d->name));
	json_object_set_new(object, "drain", json_boolean(d->drain));
	json_object_set_new(object, "faulty", json_boolean(d->faulty));
	json_set_str(object, "reason", str_of(d->reason));
	char *text = json_text(object);
	json_decref(object);
	return text;
}

static bool save(struct pool *pool, struct device *d)
{
	char key[sizeof prefix + LEASE_UUID_MAX];
	char *text = text_of(d);
	snprintf(key, sizeof key, "%s%s", prefix, d->uuid);
	d->unsaved = !text || ledger_append(pool->ledger, SL_RECORD_OBJECT, str_of(key), text, strlen(text)) == 0;
	free(text);
	return !d->unsaved;
}

void mark_changed(struct pool *pool, struct device *d)
{
	if (!save(pool, d))
		change_later(pool);
}

void mark_retry(struct pool *pool)
{
	for (size_t i = 0; i < pool->devices.n; i++)
		if (pool->devices.at[i].unsaved)
			mark_changed(pool, &pool->devices.at[i]);
}

int mark_drain(struct pool *pool, struct device *d, bool drain, const char *reason, sl_error *error)
{
	struct device before = *d;
	d->drain = drain;
	if (!d->faulty)
		snprintf(d->reason, sizeof d->reason, "%s", drain ? reason : "");
	if (save(pool, d))
		return SL_OK;
	*d = before;
	return error_set(error, SL_EUNAVAILABLE, "the ledger takes no records at the moment (disk full or failed?): try again");
}

void mark_apply(const struct pool *pool, struct device *d)
{
	char key[sizeof prefix + LEASE_UUID_MAX];
	snprintf(key, sizeof key, "%s%s", prefix, d->uuid);
	const json_t *mark = json_object_get(pool->marks, key);
	if (!json_is_object(mark))
		return;
	d->drain = json_get_bool(mark, "drain", false);
	if (json_get_bool(mark, "faulty", false))
		d->faulty = true;
	str_copy(d->reason, sizeof d->reason, str_of(json_get_str(mark, "reason", "")));
}
