/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - how long a scheduler takes for a plan: plan FILE.so ... prints the curve for each. Whole devices, eight a machine,
 * nine tenths of them in use, four queues. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sluice/plugin.h>
#include <sluice/scheduler.h>

enum { QUEUES = 4, ACTIONS = 256, ROUNDS = 5 };

static int64_t conf_int(const sl_conf *conf, const char *name)
{
	(void) conf;
	return strcmp(name, "backfill") == 0 ? 1000 : 604800000;
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static void *array(size_t n, size_t size)
{
	void *at = calloc(n + 1, size);
	if (!at)
		abort();
	return at;
}

static sl_view make_view(size_t waiting, size_t devices, unsigned kinds)
{
	size_t machines = devices / 8, running = devices * 9 / 10;
	sl_view_device *d = array(devices, sizeof *d);
	sl_view_device_terms *dt = array(devices, sizeof *dt);
	sl_view_machine *m = array(machines, sizeof *m);
	sl_view_queue *q = array(QUEUES, sizeof *q);
	sl_view_queue_terms *qt = array(QUEUES, sizeof *qt);
	sl_view_lease *w = array(waiting, sizeof *w), *r = array(running, sizeof *r);
	sl_view_lease_terms *wt = array(waiting, sizeof *wt), *rt = array(running, sizeof *rt);
	uint32_t *places = array(devices, sizeof *places);
	for (uint32_t i = 0; i < devices; i++) {
		int used = i < running;
		snprintf(d[i].machine, SL_NAME_MAX, "m%u", i / 8);
		snprintf(d[i].kind, SL_NAME_MAX, "h100");
		d[i].memory_bytes = UINT64_C(1000) << 20;
		d[i].state = used ? SL_DEVICE_GRANTED : SL_DEVICE_FREE;
		d[i].lease = used ? i + 1 : 0;
		dt[i] = (sl_view_device_terms){ .machine = i / 8, .island = SL_NONE, .free_milli = used ? 0 : 1000 };
		places[i] = i;
	}
	for (uint32_t i = 0; i < QUEUES; i++)
		qt[i] = (sl_view_queue_terms){ .cohort = SL_NONE, .nominal = (int32_t) (devices / QUEUES), .borrow = -1, .lend = -1,
			.weight = 1, .flags = 7, .nominal_milli = (int64_t) (running / QUEUES) * 1000 };
	for (uint32_t i = 0; i < running; i++) {
		r[i] = (sl_view_lease){ .number = i + 1, .queue = i % QUEUES, .devices = 1 };
		rt[i] = (sl_view_lease_terms){ .milli = 1000, .kind = SL_NONE, .user = SL_NONE, .first_place = i, .n_places = 1 };
	}
	for (uint32_t i = 0; i < waiting; i++) {
		w[i] = (sl_view_lease){ .number = 1000000 + i, .queue = (i * 7919u) % QUEUES, .devices = 1u << (i * 2654435761u >> 30),
			.priority = (int32_t) (i * 40503u >> 3 & 3), .since_ms = i, .memory_bytes = (uint64_t) (i * 31u % kinds) << 20 };
		wt[i] = (sl_view_lease_terms){ .milli = 1000, .kind = SL_NONE, .user = SL_NONE };
	}
	return (sl_view){ .size = sizeof(sl_view), .now_ms = 1000000, .devices = d, .n_devices = devices, .queues = q,
		.n_queues = QUEUES, .waiting = w, .n_waiting = waiting, .running = r, .n_running = running, .machines = m,
		.n_machines = machines, .device_terms = dt, .queue_terms = qt, .waiting_terms = wt, .running_terms = rt,
		.places = places, .n_places = devices };
}

int main(int argc, char **argv)
{
	static const struct { size_t waiting, devices; unsigned kinds; } curve[] = {
		{ 1000, 1000, 1 }, { 10000, 1000, 1 }, { 100000, 1000, 1 }, { 10000, 10000, 1 }, { 100000, 10000, 1 }, { 10000, 1000, 1000 },
	};
	static sl_action out[ACTIONS];
	const sl_host host = { .size = sizeof host, .abi_major = SL_ABI_MAJOR, .abi_minor = SL_ABI_MINOR, .conf_int = conf_int };
	for (int a = 1; a < argc; a++) {
		void *file = dlopen(argv[a], RTLD_NOW), *self = NULL;
		const sl_plugin *p = file ? dlsym(file, "sluice_plugin") : NULL;
		sl_error error = { 0 };
		if (!p || p->open(&host, NULL, &self, &error) != SL_OK) {
			fprintf(stderr, "%s: %s\n", argv[a], p ? error.text : dlerror());
			return 1;
		}
		const sl_scheduler_ops *ops = p->ops;
		printf("%-8s waiting devices kinds   cold ms   warm ms  actions\n", p->name);
		for (size_t i = 0; i < sizeof curve / sizeof curve[0]; i++) {
			sl_view view = make_view(curve[i].waiting, curve[i].devices, curve[i].kinds);
			double cold = 0, warm = 1e9;
			size_t n = 0;
			for (int round = 0; round < ROUNDS; round++) {
				double before = now_ms();
				if (ops->plan(self, &view, out, ACTIONS, &n, &error) != SL_OK)
					return 1;
				double took = now_ms() - before;
				cold = round ? cold : took;
				warm = round && took < warm ? took : warm;
			}
			printf("%16zu %7zu %5u %9.2f %9.2f %8zu\n", curve[i].waiting, curve[i].devices, curve[i].kinds, cold, warm, n);
		}
		p->close(self);
	}
	return 0;
}
