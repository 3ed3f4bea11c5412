/* SPDX-License-Identifier: Apache-2.0 */
/* prices.c - every set of prices that a configuration has had is kept in the ledger: a use record has its cost, and an
 * export of the bill needs the prices that made it. Objects "price/MODEL/INPUT/CACHED/OUTPUT". */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/daemon/daemon.h"

static void note(struct daemon *d, const char *name, const struct conf_price *p)
{
	char key[3 * SL_NAME_MAX];
	snprintf(key, sizeof key, "price/%s/%" PRId64 "/%" PRId64 "/%" PRId64, name, p->input, p->cached, p->output);
	if (json_object_get(d->prices, key))
		return;
	json_t *json = json_pack("{s:I, s:I, s:I, s:I}", "input", (json_int_t) p->input, "cached", (json_int_t) p->cached, "output",
	                         (json_int_t) p->output, "since_ms", (json_int_t) clock_wall_ms());
	json_set_str(json, "model", str_of(name));
	char *text = json_text(json);
	if (text && ledger_append(d->ledger, SL_RECORD_OBJECT, str_of(key), text, strlen(text)))
		json_object_set_new(d->prices, key, json_true());
	else
		log_warn("the prices of %s could not be written down: its requests stand in exports without them", name);
	free(text);
	json_decref(json);
}

void prices_note(struct daemon *d, const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_models; i++) {
		const struct conf_model *m = &conf->models[i];
		note(d, m->name, &m->price);
		for (size_t j = 0; j < m->n_aliases; j++)
			note(d, m->aliases[j], &m->price);
	}
}
