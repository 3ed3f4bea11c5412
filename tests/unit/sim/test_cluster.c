/* SPDX-License-Identifier: Apache-2.0 */
/* test_cluster.c - machines give what they have, and no more. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/sim/cluster.h"

static const struct sim_node two[] = { { "a", 8000, 4096, 2, 0 }, { "b", 8000, 4096, 4, 1 } };
static struct sim_cluster cluster;
static sl_error error;

static void begin(void)
{
	cr_assert(sim_cluster_init(&cluster, two, 2));
}

static void end(void)
{
	sim_cluster_free(&cluster);
}

static struct sim_job job(uint32_t gpus, uint32_t milli)
{
	return (struct sim_job){ .name = "j", .cpu_milli = 1000, .memory_mib = 512, .gpus = gpus, .milli = milli };
}

TestSuite(cluster, .init = begin, .fini = end);

Test(cluster, takes_and_gives_back)
{
	struct sim_job share = job(1, 460);
	struct sim_place place = { 0, 2 };
	cr_expect_eq(cluster.gpu_milli, 6000);
	cr_assert_eq(sim_cluster_take(&cluster, &share, place, &error), SL_OK, "%s", error.text);
	cr_assert_eq(sim_cluster_take(&cluster, &share, place, &error), SL_OK, "%s", error.text);
	cr_expect_eq(cluster.machines[0].free[1], 80);
	cr_expect_eq(cluster.machines[0].free_sum, 1080);
	cr_expect_eq(cluster.gpu_milli_free, 5080);
	cr_expect_eq(cluster.machines[0].cpu_milli, 6000);
	cr_expect_eq(sim_cluster_take(&cluster, &share, place, &error), SL_EFULL);
	cr_expect_eq(cluster.gpu_milli_free, 5080, "a refusal changes nothing");
	sim_cluster_give(&cluster, &share, place);
	sim_cluster_give(&cluster, &share, place);
	cr_expect_eq(cluster.machines[0].free[1], SIM_WHOLE);
	cr_expect_eq(cluster.machines[0].memory_mib, 4096);
	cr_expect_eq(cluster.gpu_milli_free, 6000);
}

Test(cluster, refuses_what_is_not_there)
{
	struct sim_job gang = job(2, SIM_WHOLE), bound = job(1, SIM_WHOLE), big = job(1, SIM_WHOLE);
	bound.models = 2;
	big.cpu_milli = 8001;
	cr_expect_eq(sim_cluster_take(&cluster, &gang, (struct sim_place){ 0, 1 }, &error), SL_EINVAL, "half a gang");
	cr_expect_eq(sim_cluster_take(&cluster, &gang, (struct sim_place){ 0, 6 }, &error), SL_EFULL, "there is no GPU 2");
	cr_expect_eq(sim_cluster_take(&cluster, &gang, (struct sim_place){ 2, 3 }, &error), SL_EINVAL, "no such machine");
	cr_expect_eq(sim_cluster_take(&cluster, &bound, (struct sim_place){ 0, 1 }, &error), SL_EINVAL, "another model");
	cr_expect_eq(sim_cluster_take(&cluster, &big, (struct sim_place){ 0, 1 }, &error), SL_EFULL, "cpu");
	cr_expect_eq(cluster.gpu_milli_free, 6000);
	cr_expect(sim_machine_fits(&cluster.machines[1], &bound));
	cr_expect_not(sim_machine_fits(&cluster.machines[0], &bound));
	cr_expect_not(sim_machine_fits(&cluster.machines[0], &big));
}

Test(cluster, picks_devices_of_one_level)
{
	struct sim_job share = job(1, 300), gang = job(2, SIM_WHOLE);
	uint64_t gpus;
	cr_assert_eq(sim_cluster_take(&cluster, &share, (struct sim_place){ 1, 2 }, &error), SL_OK);
	cr_expect(sim_machine_pick(&cluster.machines[1], &gang, SIM_WHOLE, &gpus));
	cr_expect_eq(gpus, 5);
	cr_expect(sim_machine_pick(&cluster.machines[1], &share, 700, &gpus));
	cr_expect_eq(gpus, 2);
	cr_expect_not(sim_machine_pick(&cluster.machines[1], &share, 500, &gpus));
}
