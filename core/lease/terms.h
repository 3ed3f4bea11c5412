/* SPDX-License-Identifier: Apache-2.0 */
/* terms.h - queues and cohorts of a configuration as the plan wants them. Pure. */
#ifndef CORE_LEASE_TERMS_H
#define CORE_LEASE_TERMS_H

#include "core/conf/conf.h"
#include "core/lease/plan.h"

/* conf->n_queues queues and conf->n_cohorts cohorts, in the configuration's order; the caller frees both. False: out of
 * memory, both are NULL. */
bool terms_of_conf(const struct conf *conf, struct plan_queue **queues, struct plan_cohort **cohorts);

#endif
