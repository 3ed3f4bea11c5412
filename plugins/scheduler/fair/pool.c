/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - the view as the placement sees it, told anew only where it has changed; and what the placement would choose.
 *
 * A model is a kind with one size of memory, so a set of models says all that a lease asks of a device. Kinds have other
 * numbers in every view, so models go by name. What a machine has of one model is a pair; pairs are numbered by machine.
 * Devices beyond the placement's bounds are in no pair, or in one that offers nothing; `partial` tells of them. */
#include <string.h>

#include "plugins/scheduler/fair/fair.h"

static uint32_t kind_of(const struct fair *f, uint32_t d)
{
	return f->view->devices[d].kind[0] ? f->view->device_terms[d].kind : SL_NONE;
}

static int is_model(const struct fair *f, const struct model *m, uint32_t d)
{
	const sl_view_device *device = &f->view->devices[d];
	if (m->memory_bytes != device->memory_bytes)
		return 0;
	return m->seen ? m->kind == kind_of(f, d) : strcmp(m->name, device->kind) == 0;
}

/* The device's model, among those known. SL_NONE: none of them. */
static uint32_t known_model(struct fair *f, uint32_t d)
{
	for (uint32_t i = 0; i < f->n_models; i++) {
		struct model *m = &f->models[i];
		if (!is_model(f, m, d))
			continue;
		m->seen = 1;
		m->kind = kind_of(f, d);
		return i;
	}
	return SL_NONE;
}

/* A place for one more: a new one, else that of a model of which the view has no device. */
static uint32_t new_model(struct fair *f, uint32_t d)
{
	uint32_t i = 0;
	while (i < f->n_models && (f->n_models < PLACEMENT_MODELS_MAX || f->models[i].seen))
		i++;
	if (i == PLACEMENT_MODELS_MAX)
		return SL_NONE;
	f->n_models = i < f->n_models ? f->n_models : i + 1;
	f->models[i] = (struct model){ .memory_bytes = f->view->devices[d].memory_bytes, .kind = kind_of(f, d), .seen = 1 };
	memcpy(f->models[i].name, f->view->devices[d].kind, sizeof f->models[i].name);
	return i;
}

static void find_models(struct fair *f)
{
	int missing = 0;
	for (uint32_t i = 0; i < f->n_models; i++)
		f->models[i].seen = 0;
	for (uint32_t d = 0; d < f->view->n_devices; d++) {
		f->device_model[d] = known_model(f, d);
		missing |= f->device_model[d] == SL_NONE;
	}
	for (uint32_t d = 0; missing && d < f->view->n_devices; d++) {
		if (f->device_model[d] == SL_NONE)
			f->device_model[d] = known_model(f, d);
		if (f->device_model[d] == SL_NONE)
			f->device_model[d] = new_model(f, d);
	}
}

/* The machine's pair of that model, made when it is the first. */
static struct pair *pair_of(struct fair *f, uint32_t m, uint32_t model)
{
	for (uint32_t i = f->machine_pairs[m]; i < f->n_pairs; i++)
		if (f->pairs[i].now.model == model)
			return &f->pairs[i];
	struct pair *pair = &f->pairs[f->n_pairs++];
	pair->machine = m;
	pair->now = (struct pair_state){ .model = model };
	return pair;
}

static void count_machine(struct fair *f, uint32_t m)
{
	f->machine_pairs[m] = f->n_pairs;
	for (uint32_t k = f->machine_first[m]; k < f->machine_first[m + 1]; k++) {
		uint32_t d = f->machine_devices[k], state = f->view->devices[d].state;
		if (f->device_model[d] == SL_NONE) {
			f->partial = 1;
			continue;
		}
		struct pair *pair = pair_of(f, m, f->device_model[d]);
		pair->now.n_devices += state != SL_DEVICE_FAULTY && state != SL_DEVICE_DRAINED && state != SL_DEVICE_DRAINING;
		pair->now.n_free += state == SL_DEVICE_FREE;
	}
	f->partial |= f->n_pairs > f->machine_pairs[m] + 1; /* a gang may need devices of two models */
	for (uint32_t i = f->machine_pairs[m]; i < f->n_pairs; i++)
		if (f->pairs[i].now.n_devices > PLACEMENT_DEVICES_MAX) {
			f->pairs[i].now.n_devices = f->pairs[i].now.n_free = 0;
			f->partial = 1;
		}
}

static int same(const struct pair_state *a, const struct pair_state *b)
{
	return a->cpu_milli == b->cpu_milli && a->memory == b->memory && a->model == b->model && a->n_devices == b->n_devices &&
	       a->n_free == b->n_free;
}

/* Tells the placement of the pair if it does not know. 0: out of memory. */
static int tell(struct fair *f, uint32_t i)
{
	uint16_t free_milli[PLACEMENT_DEVICES_MAX] = { 0 };
	struct pair *pair = &f->pairs[i];
	pair->now.cpu_milli = f->cpu_free[pair->machine];
	pair->now.memory = f->memory_free[pair->machine];
	if (i < f->n_told && same(&pair->now, &pair->told))
		return 1;
	for (uint32_t k = 0; k < pair->now.n_free; k++)
		free_milli[k] = PLACEMENT_WHOLE;
	const struct placement_machine machine = { pair->now.cpu_milli, pair->now.memory, pair->now.model, pair->now.n_devices,
		free_milli };
	if (!placement_set(f->placement, i, &machine))
		return 0;
	pair->told = pair->now;
	f->n_told = i < f->n_told ? f->n_told : i + 1;
	return 1;
}

void pool_setup(struct fair *f)
{
	const sl_view *v = f->view;
	f->n_pairs = 0;
	f->partial = 0;
	find_models(f);
	for (uint32_t m = 0; m < v->n_machines; m++) {
		int64_t cpu = v->machines[m].cpu_milli_free, memory = v->machines[m].host_memory_free_bytes;
		f->cpu_free[m] = cpu < 0 ? PLACEMENT_UNKNOWN : cpu;
		f->memory_free[m] = memory < 0 ? PLACEMENT_UNKNOWN : memory;
		count_machine(f, m);
	}
	f->machine_pairs[v->n_machines] = f->n_pairs;
	memset(f->barred, 0, f->n_pairs);
	uint32_t i = 0;
	while (i < f->n_pairs && tell(f, i))
		i++;
	f->partial |= i < f->n_pairs;
	f->n_told = f->n_told < i ? f->n_told : i;
	placement_shrink(f->placement, f->n_told);
}

static int64_t amount(uint64_t n)
{
	return n < INT64_MAX ? (int64_t) n : INT64_MAX - 1;
}

/* A share counts as a whole device, since it gets one. 0: no model that is known suits it. */
static int request_of(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms,
                      struct placement_request *out)
{
	uint64_t models = 0, all = 0;
	for (uint32_t i = 0; i < f->n_models; i++) {
		const struct model *m = &f->models[i];
		if (!m->seen)
			continue;
		all |= UINT64_C(1) << i;
		if ((!lease->kind[0] || (m->kind != SL_NONE && m->kind == terms->kind)) && m->memory_bytes >= lease->memory_bytes)
			models |= UINT64_C(1) << i;
	}
	*out = (struct placement_request){ .cpu_milli = amount(terms->cpu_milli), .memory = amount(terms->host_memory_bytes),
		.models = models == all ? 0 : models, .devices = lease->devices, .milli = PLACEMENT_WHOLE };
	return models != 0;
}

/* Numbers grow, so what is above the last one is new. Those who run are new only after a start, and as typical. */
static uint64_t learn_from(struct fair *f, const sl_view_lease *leases, const sl_view_lease_terms *terms, size_t n)
{
	uint64_t last = f->learned;
	for (size_t i = 0; i < n; i++) {
		struct placement_request request;
		if (leases[i].number <= f->learned)
			continue;
		if (leases[i].devices > 0 && request_of(f, &leases[i], &terms[i], &request))
			placement_learn(f->placement, &request);
		last = leases[i].number > last ? leases[i].number : last;
	}
	return last;
}

void pool_learn(struct fair *f)
{
	uint64_t running = learn_from(f, f->view->running, f->view->running_terms, f->view->n_running);
	uint64_t waiting = learn_from(f, f->view->waiting, f->view->waiting_terms, f->view->n_waiting);
	f->learned = running > waiting ? running : waiting;
}

struct dead pool_shape(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms)
{
	struct dead shape = { .time_limit_ms = lease->time_limit_ms };
	shape.none = !request_of(f, lease, terms, &shape.request);
	if (f->partial) { /* the models do not say all */
		shape.memory_bytes = lease->memory_bytes;
		shape.kind = terms->kind;
		shape.any_kind = !lease->kind[0];
	}
	return shape;
}

/* Leaves out what is kept for others, or lets it in again. */
static void bar(struct fair *f, const sl_view_lease *lease, uint8_t barred)
{
	for (uint32_t i = 0; i < f->n_reserved; i++) {
		uint32_t m = f->reserved[i];
		if (!place_allowed(f, lease, m))
			memset(f->barred + f->machine_pairs[m], barred, f->machine_pairs[m + 1] - f->machine_pairs[m]);
	}
}

int pool_choose(struct fair *f, const sl_view_lease *lease, const struct dead *shape, uint32_t *machine, uint32_t *model)
{
	struct placement_choice choice;
	if (shape->none)
		return 0;
	bar(f, lease, 1);
	int found = placement_choose(f->placement, &shape->request, f->barred, &choice);
	bar(f, lease, 0);
	if (!found)
		return 0;
	*machine = f->pairs[choice.machine].machine;
	*model = f->pairs[choice.machine].now.model;
	return 1;
}

static void spend(int64_t *free, uint64_t asked)
{
	if (*free != PLACEMENT_UNKNOWN)
		*free = *free > amount(asked) ? *free - amount(asked) : 0;
}

void pool_take(struct fair *f, const sl_view_lease_terms *terms, const uint32_t *devices, uint32_t n)
{
	uint32_t m = f->view->device_terms[devices[0]].machine;
	spend(&f->cpu_free[m], terms->cpu_milli);
	spend(&f->memory_free[m], terms->host_memory_bytes);
	for (uint32_t i = f->machine_pairs[m]; i < f->machine_pairs[m + 1] && i < f->n_told; i++) {
		struct pair_state *now = &f->pairs[i].now;
		for (uint32_t k = 0; k < n; k++)
			if (f->device_model[devices[k]] == now->model && f->view->devices[devices[k]].state == SL_DEVICE_FREE && now->n_free)
				now->n_free--;
		tell(f, i);
	}
}
