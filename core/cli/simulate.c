/* SPDX-License-Identifier: Apache-2.0 */
/* simulate.c - sluicectl simulate: jobs through a scheduler, or requests through a router. */
#include "core/cli/cli.h"

/* What only one of the two takes. */
static const char *const of_jobs[] = { "scheduler", "option", "config", "every", "copies", "services", "shift", "preemptible",
	"suspendable", "until-last", NULL };
static const char *const of_trace[] = { "policy", "compare", "rate", "time", "capacity", "slo", "seeds", "kill", NULL };

static const char *first_given(const struct cli *cli, const char *const *names)
{
	while (*names && !cli_value(cli, *names))
		names++;
	return *names;
}

int simulate_run(struct cli *cli)
{
	bool jobs = cli_value(cli, "jobs"), trace = cli_value(cli, "trace");
	if (jobs == trace)
		return cli_fail(cli, CLI_USAGE, "sluicectl simulate --help",
		                jobs ? "simulate takes --jobs (a scheduler) or --trace (a router), not both"
		                     : "simulate needs --jobs FILE (a scheduler) or --trace TRACE (a router)");
	const char *other = first_given(cli, jobs ? of_trace : of_jobs);
	if (other)
		return cli_fail(cli, CLI_USAGE, "sluicectl simulate --help", "--%s goes with --%s", other, jobs ? "trace" : "jobs");
	return jobs ? simulate_jobs_run(cli) : simulate_routing_run(cli);
}
