/* SPDX-License-Identifier: Apache-2.0 */
/* tenants.c - tenants from the file and from the store, and their Unix users. */
#include <pwd.h>
#include <stdlib.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/identity/internal.h"

enum { PASSWD_BYTES = 65536 };

struct tenant *tenant_find(const struct identity *id, sl_str name)
{
	uint32_t tag = (uint32_t) hash_str(name);
	for (uint32_t at = index_start(&id->by_tenant, tag), place; (place = index_match(&id->by_tenant, tag, &at)); at++)
		if (str_eq(str_of(id->tenants[place - 1]->name), name))
			return id->tenants[place - 1];
	return NULL;
}

struct tenant *tenant_make(struct identity *id, sl_str name)
{
	struct tenant *t = tenant_find(id, name);
	if (t)
		return t;
	if (id->n_tenants >= TENANTS_MAX || name.len >= SL_NAME_MAX || !index_room(&id->by_tenant))
		return NULL;
	/* The array doubles. */
	if ((id->n_tenants & (id->n_tenants - 1)) == 0) {
		size_t room = id->n_tenants ? (size_t) id->n_tenants * 2 : 1;
		struct tenant **more = realloc(id->tenants, room * sizeof *more);
		if (!more)
			return NULL;
		id->tenants = more;
	}
	t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	str_copy(t->name, sizeof t->name, name);
	id->tenants[id->n_tenants++] = t;
	index_put(&id->by_tenant, (uint32_t) hash_str(name), id->n_tenants);
	return t;
}

const struct terms *tenant_terms(const struct tenant *t)
{
	return t->file.declared ? &t->file : t->store.declared ? &t->store : NULL;
}

void list_free(char **list, size_t n)
{
	for (size_t i = 0; list && i < n; i++)
		free(list[i]);
	free(list);
}

void terms_free(struct terms *terms)
{
	list_free(terms->queues, terms->n_queues);
	list_free(terms->users, terms->n_users);
	free(terms->uids);
	*terms = (struct terms){ 0 };
}

static bool list_copy(const char *const *from, size_t n, char ***to, size_t *n_to)
{
	*to = calloc(n ? n : 1, sizeof **to);
	if (!*to)
		return false;
	for (*n_to = 0; *n_to < n; (*n_to)++)
		if (!((*to)[*n_to] = str_dup(str_of(from[*n_to]))))
			return false;
	return true;
}

/* The uid of a user's name, or of a number. Asks the system's user database: may block. */
static uint32_t uid_of(const char *name)
{
	struct passwd entry, *found = NULL;
	uint64_t number;
	char *room = malloc(PASSWD_BYTES);
	uint32_t uid = UINT32_MAX;
	if (room && getpwnam_r(name, &entry, room, PASSWD_BYTES, &found) == 0 && found)
		uid = found->pw_uid;
	else if (str_to_u64(str_of(name), UINT32_MAX - 1, &number))
		uid = (uint32_t) number;
	free(room);
	return uid;
}

/* Without the lock. */
static bool terms_fill(struct terms *terms, const char *tier, const char *const *users, size_t n_users,
                       const char *const *queues, size_t n_queues)
{
	terms->declared = true;
	str_copy(terms->tier, sizeof terms->tier, str_of(tier && *tier ? tier : "default"));
	terms->uids = calloc(n_users ? n_users : 1, sizeof *terms->uids);
	if (!terms->uids || !list_copy(users, n_users, &terms->users, &terms->n_users) ||
	    !list_copy(queues, n_queues, &terms->queues, &terms->n_queues))
		return false;
	for (size_t i = 0; i < n_users; i++) {
		terms->uids[i] = uid_of(users[i]);
		if (terms->uids[i] == UINT32_MAX)
			log_warn("identity: there is no user '%s' on this machine", users[i]);
	}
	return true;
}

static int by_uid(const void *a, const void *b)
{
	const struct unix_user *x = a, *y = b;
	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

bool users_rebuild(struct identity *id)
{
	size_t room = 0, n = 0;
	for (uint32_t i = 0; i < id->n_tenants; i++)
		room += tenant_terms(id->tenants[i]) ? tenant_terms(id->tenants[i])->n_users : 0;
	struct unix_user *users = calloc(room ? room : 1, sizeof *users);
	if (!users)
		return false;
	for (uint32_t i = 0; i < id->n_tenants; i++) {
		const struct terms *terms = tenant_terms(id->tenants[i]);
		for (size_t k = 0; terms && k < terms->n_users; k++) {
			/* What a file says goes before what the store says. */
			uint32_t order = (terms == &id->tenants[i]->file ? 0 : TENANTS_MAX) + i;
			if (terms->uids[k] != UINT32_MAX)
				users[n++] = (struct unix_user){ terms->uids[k], order, id->tenants[i], terms->users[k] };
		}
	}
	qsort(users, n, sizeof *users, by_uid);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || users[kept - 1].uid != users[i].uid)
			users[kept++] = users[i];
	free(id->users);
	id->users = users;
	id->n_users = kept;
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

bool tier_known(const struct identity *id, sl_str name)
{
	char text[SL_NAME_MAX], *key = text;
	return id->n_tiers && str_copy(text, sizeof text, name) && bsearch(&key, id->tiers, id->n_tiers, sizeof *id->tiers, by_name);
}

/* The names of all tiers in their order. Without the lock. */
static bool tiers_fill(const struct conf *conf, char ***tiers, size_t *n_tiers)
{
	const char **names = calloc(conf->n_tiers ? conf->n_tiers : 1, sizeof *names);
	for (size_t i = 0; names && i < conf->n_tiers; i++)
		names[i] = conf->tiers[i].name;
	bool filled = names && list_copy(names, conf->n_tiers, tiers, n_tiers);
	free(names);
	if (filled)
		qsort(*tiers, *n_tiers, sizeof **tiers, by_name);
	return filled;
}

void identity_configure(struct identity *id, const struct conf *conf)
{
	char **tiers = NULL;
	size_t n_tiers = 0;
	struct terms *all = calloc(conf->n_tenants ? conf->n_tenants : 1, sizeof *all);
	if (!all) {
		log_error("identity: out of memory, the tenants of the file are as they were");
		return;
	}
	for (size_t i = 0; i < conf->n_tenants; i++) {
		const struct conf_tenant *t = &conf->tenants[i];
		all[i].operators = t->operators;
		if (!terms_fill(&all[i], t->tier, (const char *const *) t->users, t->n_users, (const char *const *) t->queues,
		                t->n_queues)) {
			terms_free(&all[i]);
			log_error("identity: out of memory, tenant '%s' is left out", t->name);
		}
	}
	if (!tiers_fill(conf, &tiers, &n_tiers)) {
		list_free(tiers, n_tiers);
		tiers = NULL;
		n_tiers = 0;
		log_error("identity: out of memory, tiers are unknown until the next reload");
	}
	pthread_rwlock_wrlock(&id->lock);
	list_free(id->tiers, id->n_tiers);
	id->tiers = tiers;
	id->n_tiers = n_tiers;
	for (uint32_t i = 0; i < id->n_tenants; i++)
		terms_free(&id->tenants[i]->file);
	for (size_t i = 0; i < conf->n_tenants; i++) {
		struct tenant *t = all[i].declared ? tenant_make(id, str_of(conf->tenants[i].name)) : NULL;
		if (t && !t->file.declared)
			t->file = all[i];
		else
			terms_free(&all[i]);
	}
	if (!users_rebuild(id)) { /* rather nobody than pointers to what is gone */
		id->n_users = 0;
		log_error("identity: out of memory, Unix users are unknown until the next reload");
	}
	pthread_rwlock_unlock(&id->lock);
	free(all);
}

/* The strings of an array member; absent is empty. False: something else. */
static bool member_strings(const json_t *object, const char *member, const char *out[LIST_MAX], size_t *n)
{
	const json_t *array = json_object_get(object, member);
	*n = 0;
	if (!array || json_is_null(array))
		return true;
	if (!json_is_array(array) || json_array_size(array) > LIST_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(array); i++)
		if (!(out[(*n)++] = json_string_value(json_array_get(array, i))))
			return false;
	return true;
}

static int terms_parse(sl_str name, const json_t *object, struct terms *terms, sl_error *error)
{
	const char *users[LIST_MAX], *queues[LIST_MAX];
	size_t n_users, n_queues;
	if (!json_is_object(object) || !member_strings(object, "users", users, &n_users) ||
	    !member_strings(object, "queues", queues, &n_queues))
		return error_set(error, SL_EINVAL, "tenant '%.*s': users and queues are lists of at most %d names", STR_ARG(name),
		                 LIST_MAX);
	terms->operators = json_get_bool(object, "operators", false);
	terms->disabled = json_get_bool(object, "disabled", false);
	if (!terms_fill(terms, json_get_str(object, "tier", NULL), users, n_users, queues, n_queues)) {
		terms_free(terms);
		return error_set(error, SL_ENOMEM, "out of memory");
	}
	return SL_OK;
}

int tenant_apply(struct identity *id, sl_str name, const json_t *object, sl_error *error)
{
	struct terms terms = { 0 };
	if (name.len == 0 || name.len >= SL_NAME_MAX)
		return error_set(error, SL_EINVAL, "a tenant's name has 1 to %d characters", SL_NAME_MAX - 1);
	int code = object ? terms_parse(name, object, &terms, error) : SL_OK;
	if (code != SL_OK)
		return code;
	pthread_rwlock_wrlock(&id->lock);
	struct tenant *t = object ? tenant_make(id, name) : tenant_find(id, name);
	if (t) {
		struct terms old = t->store;
		t->store = terms;
		if (!users_rebuild(id)) {
			t->store = old; /* the users' names point into it */
			old = terms;
			code = error_set(error, SL_ENOMEM, "out of memory");
		}
		terms_free(&old);
	} else if (object) {
		terms_free(&terms);
		code = error_set(error, SL_EFULL, "there is no room for tenant '%.*s': %d is the bound", STR_ARG(name), TENANTS_MAX);
	}
	pthread_rwlock_unlock(&id->lock);
	return code;
}

bool identity_has_tenant(struct identity *id, sl_str tenant)
{
	pthread_rwlock_rdlock(&id->lock);
	const struct tenant *t = tenant_find(id, tenant);
	bool has = t && tenant_terms(t);
	pthread_rwlock_unlock(&id->lock);
	return has;
}

bool identity_queue_allowed(struct identity *id, sl_str tenant, sl_str queue)
{
	bool allowed = false;
	pthread_rwlock_rdlock(&id->lock);
	const struct tenant *t = tenant_find(id, tenant);
	const struct terms *terms = t ? tenant_terms(t) : NULL;
	for (size_t i = 0; terms && i < terms->n_queues && !allowed; i++)
		allowed = str_eq(str_of(terms->queues[i]), queue);
	pthread_rwlock_unlock(&id->lock);
	return allowed;
}

void identity_default_queue(struct identity *id, sl_str tenant, char out[SL_NAME_MAX])
{
	out[0] = '\0';
	pthread_rwlock_rdlock(&id->lock);
	const struct tenant *t = tenant_find(id, tenant);
	const struct terms *terms = t ? tenant_terms(t) : NULL;
	if (terms && terms->n_queues)
		str_copy(out, SL_NAME_MAX, str_of(terms->queues[0]));
	pthread_rwlock_unlock(&id->lock);
}

void identity_tier(struct identity *id, sl_str tenant, char out[SL_NAME_MAX])
{
	out[0] = '\0';
	pthread_rwlock_rdlock(&id->lock);
	const struct tenant *t = tenant_find(id, tenant);
	const struct terms *terms = t ? tenant_terms(t) : NULL;
	if (terms)
		str_copy(out, SL_NAME_MAX, str_of(terms->tier));
	pthread_rwlock_unlock(&id->lock);
}
