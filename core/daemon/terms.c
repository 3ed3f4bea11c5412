/* SPDX-License-Identifier: Apache-2.0 */
/* terms.c - which limits count what somebody uses, where no request is there to ask the policy about. */
#include <string.h>

#include "core/base/str.h"
#include "core/daemon/daemon.h"

unsigned terms_limits(struct identity *identity, const struct conf *conf, const sl_identity *caller, struct quota_limit *out)
{
	sl_identity who = *caller;
	struct policy_admission admission;
	identity_tier(identity, str_of(who.tenant), who.tier);
	const struct conf_tier *tier = conf_tier(conf, str_of(who.tier));
	if (!tier)
		tier = conf_tier(conf, STR("default"));
	struct policy_request request = { .identity = &who, .tier = tier };
	policy_default_admit(&request, &admission);
	unsigned n = 0;
	for (unsigned i = 0; i < admission.n_limits; i++)
		if (!str_starts(str_of(admission.limits[i].scope), STR("model:")))
			out[n++] = admission.limits[i];
	return n;
}

unsigned terms_money_limits(void *arg, const struct conf *conf, const char *tenant, const char *user, struct quota_limit *out)
{
	sl_identity who = { .size = sizeof who };
	if (!tenant[0])
		return 0;
	str_copy(who.tenant, sizeof who.tenant, str_of(tenant));
	str_copy(who.user, sizeof who.user, str_of(user));
	unsigned n = terms_limits(arg, conf, &who, out), kept = 0;
	for (unsigned i = 0; i < n; i++)
		if (out[i].metric == QUOTA_COST)
			out[kept++] = out[i];
	return kept;
}

static int64_t amount_of(const struct quota_use *use, uint8_t metric)
{
	switch (metric) {
	case QUOTA_REQUESTS: return use->requests;
	case QUOTA_TOKENS: return use->input_tokens + use->output_tokens;
	case QUOTA_INPUT_TOKENS: return use->input_tokens;
	case QUOTA_OUTPUT_TOKENS: return use->output_tokens;
	case QUOTA_COST: return use->cost;
	default: return 0; /* what is over is not under way any more */
	}
}

void terms_restore(struct quota *quota, struct quota_now now, const struct quota_limit *limits, unsigned n, uint64_t wall_ms,
                   const struct quota_use *use)
{
	for (unsigned i = 0; i < n; i++) {
		bool seen = false;
		for (unsigned k = 0; k < i; k++)
			seen = seen || quota_same_counter(&limits[k], &limits[i]);
		if (!seen)
			quota_restore(quota, now, &limits[i], wall_ms, amount_of(use, limits[i].metric));
	}
}
