/* SPDX-License-Identifier: Apache-2.0 */
/* terms.c - from the configuration to the plan. */
#include "core/lease/terms.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

static uint32_t cohort_index(const struct conf *conf, const char *name)
{
	for (size_t i = 0; name && i < conf->n_cohorts; i++)
		if (strcmp(conf->cohorts[i].name, name) == 0)
			return (uint32_t) i;
	return SL_NONE;
}

static struct plan_queue queue_terms(const struct conf *conf, const struct conf_queue *q)
{
	struct plan_queue out = {
		.priority = q->priority, .nominal = q->gpus, .borrow = q->borrow, .lend = q->lend, .weight = (uint32_t) q->weight,
		.cohort = cohort_index(conf, q->cohort), .per_user = q->per_user, .min_run_ms = (uint64_t) q->min_run_ms,
		.flags = (q->reclaim ? (uint32_t) SL_QUEUE_RECLAIM : 0) |
		         (q->preempt ? (uint32_t) SL_QUEUE_PREEMPT_OWN | (uint32_t) SL_QUEUE_PREEMPT_OTHERS : 0),
	};
	str_copy(out.name, sizeof out.name, str_of(q->name));
	return out;
}

bool terms_of_conf(const struct conf *conf, struct plan_queue **queues, struct plan_cohort **cohorts)
{
	*queues = calloc(conf->n_queues + 1, sizeof **queues);
	*cohorts = calloc(conf->n_cohorts + 1, sizeof **cohorts);
	if (!*queues || !*cohorts) {
		free(*queues);
		free(*cohorts);
		*queues = NULL;
		*cohorts = NULL;
		return false;
	}
	for (size_t i = 0; i < conf->n_queues; i++)
		(*queues)[i] = queue_terms(conf, &conf->queues[i]);
	for (size_t i = 0; i < conf->n_cohorts; i++) {
		const struct conf_cohort *c = &conf->cohorts[i];
		(*cohorts)[i] = (struct plan_cohort){ .parent = cohort_index(conf, c->parent), .nominal = c->gpus, .borrow = c->borrow,
		                                      .lend = c->lend };
		str_copy((*cohorts)[i].name, sizeof (*cohorts)[i].name, str_of(c->name));
	}
	return true;
}
