/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of this room share. */
#ifndef CORE_POLICY_INTERNAL_H
#define CORE_POLICY_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/policy/policy.h"
#include "core/sandbox/sandbox.h"

/* What views look at. The live one belongs to the policy and is empty between calls; each made by a test belongs to
 * the Lua object of that test. */
struct policy_box {
	const struct policy_request *request;
	const struct conf_model *model;
	const struct policy_replica *replicas;
	size_t n_replicas;
	const struct policy_signals *signals;
	const struct policy_lease_request *lease;
};

/* A userdata that Lua code sees. Its metatable says which kind. */
struct policy_view {
	struct policy_box *box;
	unsigned index; /* of a replica */
};

enum policy_hook { HOOK_ADMIT, HOOK_ROUTE, HOOK_SCALE, HOOK_LEASE, HOOK_COUNT };
extern const char *const policy_hooks[HOOK_COUNT + 1];

/* What deny() makes. */
struct policy_denied {
	struct policy_denial denial;
	char where[128];
};

struct policy {
	struct conf *conf;
	struct sandbox *sandbox;
	struct policy_box box;
	char shown[128];            /* chunk name of the policy in use */
	sl_str text;                /* of the site's policy, ptr NULL: the standard one. Owned by conf or by own_text */
	char *own_text;
	int hook[HOOK_COUNT];       /* registry references, LUA_NOREF: not there */
	char hook_place[HOOK_COUNT][96]; /* where each is defined, "policy.lua:12" */
	int request_view, model_view, signals_view, event_view;
	bool has_route;
	bool quiet;                 /* a tool's: what fails is in its report, not in the log */
	uint64_t logged_ns;
	unsigned unlogged;
};

/* view.c: metatables and functions that make views. All run inside Lua. */
void policy_view_setup(lua_State *L, struct policy *p);
void policy_push_request(lua_State *L, struct policy_box *box, int owner);
void policy_push_model(lua_State *L, struct policy_box *box, int owner);
void policy_push_signals(lua_State *L, struct policy_box *box, int owner);
void policy_push_event(lua_State *L, struct policy_box *box, int owner);
/* The number of the field that __index asks for. Upvalue 1: name -> number; upvalue 2: what this is. Raises. */
lua_Integer policy_field_number(lua_State *L);
/* The view of that kind at the index; NULL when it is something else. */
struct policy_view *policy_to_view(lua_State *L, int index, const char *kind);
struct policy_denied *policy_to_denied(lua_State *L, int index);
extern const char policy_kind_limits[], policy_kind_replica[], policy_kind_request[], policy_kind_denial[];
int policy_deny(lua_State *L);
/* "denial", "replica", ... of a userdata of ours, else the Lua type. */
int policy_kind(lua_State *L);

/* lease.c */
extern const char policy_kind_event[];
extern const char *const policy_event_fields[];
int policy_event_index(lua_State *L);
void policy_take_terms(lua_State *L, const struct policy *p, const struct policy_lease_request *r, struct policy_lease_terms *out);

/* The value on top of the stack, or what is wrong with it is raised. */
int64_t policy_take_integer(lua_State *L, const char *what, int64_t min, int64_t max);
const char *policy_take_text(lua_State *L, const char *what, size_t max);
/* What hooks returned. They raise what is wrong. The value is on top of the stack. */
void policy_take_admission(lua_State *L, struct policy *p, const struct policy_request *r, struct policy_admission *out);
void policy_take_routing(lua_State *L, struct policy *p, struct policy_routing *out);
void policy_take_wanted(lua_State *L, const struct conf_model *model, int *wanted);

/* world.c: request { }, fleet { }, signals { } and event { } for tests. The policy is upvalue 1. */
int policy_test_request(lua_State *L);
int policy_test_fleet(lua_State *L);
int policy_test_signals(lua_State *L);
int policy_test_event(lua_State *L);

/* tests.c */
int policy_run_tests(struct policy *p, struct buf *report, bool all, sl_error *error);
/* names.c: one finding a line for each use of a global that is nowhere defined. The text has been run already. */
void policy_check_names(struct policy *p, sl_str text, struct buf *report);
/* As policy_open, for a file that is not conf's; NULL: the standard policy. */
struct policy *policy_open_file(struct conf *conf, const char *file, sl_error *error);

#endif
