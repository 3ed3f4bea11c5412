/* SPDX-License-Identifier: Apache-2.0 */
/* test_layout.c - every size and offset of the plugin ABI, as numbers. What compiles here has the layout of 1.1;
 * fields that a later minor version adds go to the end of their struct and to the end of its list here, and only the
 * sizes grow. (Sizes of structs without a size of their own never change.) */
#include <sluice/auth.h>
#include <sluice/backend.h>
#include <sluice/launcher.h>
#include <sluice/scheduler.h>
#include <sluice/store.h>

#include "tests/unit/tap.h"

#define SIZE(TYPE, N) _Static_assert(sizeof(TYPE) == (N), "size of " #TYPE)
#define AT(TYPE, FIELD, N) _Static_assert(offsetof(TYPE, FIELD) == (N), "place of " #TYPE "." #FIELD)
#define IS(NAME, N) _Static_assert((NAME) == (N), "value of " #NAME)

#if defined __LP64__

SIZE(sl_str, 16);
AT(sl_str, ptr, 0);
AT(sl_str, len, 8);

SIZE(sl_error, 252);
AT(sl_error, code, 0);
AT(sl_error, text, 4);

SIZE(sl_identity, 232);
AT(sl_identity, size, 0);
AT(sl_identity, roles, 4);
AT(sl_identity, tenant, 8);
AT(sl_identity, user, 72);
AT(sl_identity, key, 136);
AT(sl_identity, tier, 152);
AT(sl_identity, uid, 216);
AT(sl_identity, gid, 220);
AT(sl_identity, credential, 224);

SIZE(sl_usage, 392);
AT(sl_usage, started_ms, 0);
AT(sl_usage, duration_us, 8);
AT(sl_usage, ttft_us, 16);
AT(sl_usage, wait_us, 24);
AT(sl_usage, input_tokens, 32);
AT(sl_usage, cached_tokens, 40);
AT(sl_usage, output_tokens, 48);
AT(sl_usage, cost, 56);
AT(sl_usage, flags, 64);
AT(sl_usage, status, 68);
AT(sl_usage, tries, 70);
AT(sl_usage, request_id, 72);
AT(sl_usage, tenant, 104);
AT(sl_usage, user, 168);
AT(sl_usage, key, 232);
AT(sl_usage, model, 248);
AT(sl_usage, replica, 312);
AT(sl_usage, door, 376);

SIZE(sl_option, 56);
AT(sl_option, name, 0);
AT(sl_option, type, 8);
AT(sl_option, flags, 12);
AT(sl_option, default_text, 16);
AT(sl_option, min, 24);
AT(sl_option, max, 32);
AT(sl_option, values, 40);
AT(sl_option, help, 48);

SIZE(sl_host, 112);
AT(sl_host, size, 0);
AT(sl_host, abi_major, 4);
AT(sl_host, abi_minor, 6);
AT(sl_host, ctx, 8);
AT(sl_host, log, 16);
AT(sl_host, log_enabled, 24);
AT(sl_host, now_ns, 32);
AT(sl_host, wall_ms, 40);
AT(sl_host, conf_int, 48);
AT(sl_host, conf_str, 56);
AT(sl_host, token_done, 64);
AT(sl_host, token_fail, 72);
AT(sl_host, count, 80);
AT(sl_host, credential_find, 88);
AT(sl_host, user_find, 96);
AT(sl_host, tenant_find, 104);

SIZE(sl_plugin, 144);
AT(sl_plugin, magic, 0);
AT(sl_plugin, abi_major, 4);
AT(sl_plugin, abi_minor, 6);
AT(sl_plugin, struct_size, 8);
AT(sl_plugin, kind, 12);
AT(sl_plugin, name, 16);
AT(sl_plugin, version, 24);
AT(sl_plugin, summary, 32);
AT(sl_plugin, caps, 40);
AT(sl_plugin, needs, 48);
AT(sl_plugin, options, 56);
AT(sl_plugin, n_options, 64);
AT(sl_plugin, option_size, 68);
AT(sl_plugin, check, 72);
AT(sl_plugin, open, 80);
AT(sl_plugin, reconfigure, 88);
AT(sl_plugin, close, 96);
AT(sl_plugin, ops, 104);
AT(sl_plugin, reserved, 112);

SIZE(sl_device, 504);
AT(sl_device, size, 0);
AT(sl_device, index, 4);
AT(sl_device, uuid, 8);
AT(sl_device, parent, 104);
AT(sl_device, vendor, 200);
AT(sl_device, model, 264);
AT(sl_device, kind, 328);
AT(sl_device, memory_bytes, 392);
AT(sl_device, isolation, 400);
AT(sl_device, numa_node, 404);
AT(sl_device, island, 408);
AT(sl_device, bus, 472);

SIZE(sl_sample, 384);
AT(sl_sample, size, 0);
AT(sl_sample, health, 4);
AT(sl_sample, uuid, 8);
AT(sl_sample, memory_used_bytes, 104);
AT(sl_sample, busy_permille, 112);
AT(sl_sample, temperature_c, 116);
AT(sl_sample, power_mw, 120);
AT(sl_sample, energy_mj, 128);
AT(sl_sample, reason, 136);

SIZE(sl_env, 1088);
AT(sl_env, name, 0);
AT(sl_env, value, 64);

SIZE(sl_backend_ops, 96);
AT(sl_backend_ops, size, 0);
AT(sl_backend_ops, reserved, 4);
AT(sl_backend_ops, devices, 8);
AT(sl_backend_ops, sample, 16);
AT(sl_backend_ops, prepare, 24);
AT(sl_backend_ops, release, 32);
AT(sl_backend_ops, about, 40);
AT(sl_backend_ops, telemetry, 48);
AT(sl_backend_ops, processes, 56);
AT(sl_backend_ops, events, 64);
AT(sl_backend_ops, check, 72);
AT(sl_backend_ops, suspend, 80);
AT(sl_backend_ops, resume, 88);

SIZE(sl_telemetry, 168);
AT(sl_telemetry, uuid, 8);
AT(sl_telemetry, ecc_corrected, 104);
AT(sl_telemetry, rows_remapped, 120);
AT(sl_telemetry, throttle, 136);
AT(sl_telemetry, last_fault, 148);
AT(sl_telemetry, links_up, 156);
AT(sl_telemetry, energy_mj, 160);

SIZE(sl_process, 24);
AT(sl_process, pid, 4);
AT(sl_process, memory_bytes, 8);
AT(sl_process, compute_permille, 16);

SIZE(sl_event, 368);
AT(sl_event, uuid, 8);
AT(sl_event, code, 104);
AT(sl_event, wall_ms, 112);
AT(sl_event, text, 120);

SIZE(sl_view_device, 280);
AT(sl_view_device, name, 0);
AT(sl_view_device, machine, 64);
AT(sl_view_device, kind, 128);
AT(sl_view_device, island, 192);
AT(sl_view_device, memory_bytes, 256);
AT(sl_view_device, numa_node, 264);
AT(sl_view_device, state, 268);
AT(sl_view_device, lease, 272);

SIZE(sl_view_queue, 76);
AT(sl_view_queue, name, 0);
AT(sl_view_queue, quota, 64);
AT(sl_view_queue, used, 68);
AT(sl_view_queue, priority, 72);

SIZE(sl_view_lease, 184);
AT(sl_view_lease, number, 0);
AT(sl_view_lease, queue, 8);
AT(sl_view_lease, priority, 12);
AT(sl_view_lease, devices, 16);
AT(sl_view_lease, preemptible, 20);
AT(sl_view_lease, memory_bytes, 24);
AT(sl_view_lease, kind, 32);
AT(sl_view_lease, tenant, 96);
AT(sl_view_lease, since_ms, 160);
AT(sl_view_lease, ends_ms, 168);
AT(sl_view_lease, time_limit_ms, 176);

SIZE(sl_view_machine, 96);
AT(sl_view_machine, name, 0);
AT(sl_view_machine, cpu_milli, 64);
AT(sl_view_machine, cpu_milli_free, 72);
AT(sl_view_machine, host_memory_bytes, 80);
AT(sl_view_machine, host_memory_free_bytes, 88);

SIZE(sl_view_device_terms, 24);
AT(sl_view_device_terms, machine, 0);
AT(sl_view_device_terms, island, 4);
AT(sl_view_device_terms, kind, 8);
AT(sl_view_device_terms, free_milli, 12);
AT(sl_view_device_terms, hold, 16);

SIZE(sl_view_queue_terms, 64);
AT(sl_view_queue_terms, cohort, 0);
AT(sl_view_queue_terms, nominal, 4);
AT(sl_view_queue_terms, borrow, 8);
AT(sl_view_queue_terms, lend, 12);
AT(sl_view_queue_terms, weight, 16);
AT(sl_view_queue_terms, flags, 20);
AT(sl_view_queue_terms, nominal_milli, 24);
AT(sl_view_queue_terms, borrowed_milli, 32);
AT(sl_view_queue_terms, borrowable_milli, 40);
AT(sl_view_queue_terms, min_run_ms, 48);
AT(sl_view_queue_terms, used_ms, 56);

SIZE(sl_view_cohort, 80);
AT(sl_view_cohort, name, 0);
AT(sl_view_cohort, parent, 64);
AT(sl_view_cohort, nominal, 68);
AT(sl_view_cohort, borrow, 72);
AT(sl_view_cohort, lend, 76);

SIZE(sl_view_user, 80);
AT(sl_view_user, name, 0);
AT(sl_view_user, queue, 64);
AT(sl_view_user, quota, 68);
AT(sl_view_user, used_milli, 72);

SIZE(sl_view_lease_terms, 80);
AT(sl_view_lease_terms, flags, 0);
AT(sl_view_lease_terms, milli, 4);
AT(sl_view_lease_terms, kind, 8);
AT(sl_view_lease_terms, user, 12);
AT(sl_view_lease_terms, first_place, 16);
AT(sl_view_lease_terms, n_places, 20);
AT(sl_view_lease_terms, cpu_milli, 24);
AT(sl_view_lease_terms, host_memory_bytes, 32);
AT(sl_view_lease_terms, granted_ms, 40);
AT(sl_view_lease_terms, lost_ms, 48);
AT(sl_view_lease_terms, restart_ms, 56);
AT(sl_view_lease_terms, expected_run_ms, 64);
AT(sl_view_lease_terms, hold_until_ms, 72);

SIZE(sl_view, 200);
AT(sl_view, size, 0);
AT(sl_view, reserved, 4);
AT(sl_view, now_ms, 8);
AT(sl_view, devices, 16);
AT(sl_view, n_devices, 24);
AT(sl_view, queues, 32);
AT(sl_view, n_queues, 40);
AT(sl_view, waiting, 48);
AT(sl_view, n_waiting, 56);
AT(sl_view, running, 64);
AT(sl_view, n_running, 72);
AT(sl_view, machines, 80);
AT(sl_view, n_machines, 88);
AT(sl_view, device_terms, 96);
AT(sl_view, queue_terms, 104);
AT(sl_view, cohorts, 112);
AT(sl_view, n_cohorts, 120);
AT(sl_view, waiting_terms, 128);
AT(sl_view, running_terms, 136);
AT(sl_view, suspended, 144);
AT(sl_view, suspended_terms, 152);
AT(sl_view, n_suspended, 160);
AT(sl_view, places, 168);
AT(sl_view, n_places, 176);
AT(sl_view, users, 184);
AT(sl_view, n_users, 192);

SIZE(sl_action, 272);
AT(sl_action, type, 0);
AT(sl_action, n_devices, 4);
AT(sl_action, lease, 8);
AT(sl_action, devices, 16);
AT(sl_action, reason, 24);

SIZE(sl_scheduler_ops, 24);
AT(sl_scheduler_ops, size, 0);
AT(sl_scheduler_ops, reserved, 4);
AT(sl_scheduler_ops, plan, 8);
AT(sl_scheduler_ops, explain, 16);

SIZE(sl_auth_request, 72);
AT(sl_auth_request, size, 0);
AT(sl_auth_request, door, 4);
AT(sl_auth_request, authorization, 8);
AT(sl_auth_request, api_key, 24);
AT(sl_auth_request, peer, 40);
AT(sl_auth_request, has_peercred, 56);
AT(sl_auth_request, peer_uid, 60);
AT(sl_auth_request, peer_gid, 64);
AT(sl_auth_request, peer_pid, 68);

SIZE(sl_auth_ops, 16);
AT(sl_auth_ops, size, 0);
AT(sl_auth_ops, authenticate, 8);

SIZE(sl_record, 48);
AT(sl_record, seq, 0);
AT(sl_record, type, 8);
AT(sl_record, size, 12);
AT(sl_record, wall_ms, 16);
AT(sl_record, key, 24);
AT(sl_record, data, 40);

SIZE(sl_usage_filter, 104);
AT(sl_usage_filter, size, 0);
AT(sl_usage_filter, reserved, 4);
AT(sl_usage_filter, since_ms, 8);
AT(sl_usage_filter, until_ms, 16);
AT(sl_usage_filter, tenant, 24);
AT(sl_usage_filter, user, 40);
AT(sl_usage_filter, key, 56);
AT(sl_usage_filter, model, 72);
AT(sl_usage_filter, request_id, 88);

SIZE(sl_usage_sum, 280);
AT(sl_usage_sum, size, 0);
AT(sl_usage_sum, reserved, 4);
AT(sl_usage_sum, day, 8);
AT(sl_usage_sum, tenant, 24);
AT(sl_usage_sum, user, 88);
AT(sl_usage_sum, model, 152);
AT(sl_usage_sum, key, 216);
AT(sl_usage_sum, requests, 232);
AT(sl_usage_sum, input_tokens, 240);
AT(sl_usage_sum, cached_tokens, 248);
AT(sl_usage_sum, output_tokens, 256);
AT(sl_usage_sum, cost_high, 264);
AT(sl_usage_sum, cost_low, 272);

/* 1.1 */
SIZE(sl_bill_filter, 136);
AT(sl_bill_filter, since_ms, 8);
AT(sl_bill_filter, until_ms, 16);
AT(sl_bill_filter, tenant, 24);
AT(sl_bill_filter, user, 40);
AT(sl_bill_filter, key, 56);
AT(sl_bill_filter, model, 72);
AT(sl_bill_filter, queue, 88);
AT(sl_bill_filter, kind, 104);
AT(sl_bill_filter, lease, 120);

SIZE(sl_bill_sum, 496);
AT(sl_bill_sum, day, 8);
AT(sl_bill_sum, hour, 24);
AT(sl_bill_sum, tenant, 48);
AT(sl_bill_sum, user, 112);
AT(sl_bill_sum, model, 176);
AT(sl_bill_sum, queue, 240);
AT(sl_bill_sum, kind, 304);
AT(sl_bill_sum, key, 368);
AT(sl_bill_sum, lease, 384);
AT(sl_bill_sum, price, 408);
AT(sl_bill_sum, requests, 416);
AT(sl_bill_sum, input_tokens, 424);
AT(sl_bill_sum, cached_tokens, 432);
AT(sl_bill_sum, output_tokens, 440);
AT(sl_bill_sum, device_ms, 448);
AT(sl_bill_sum, cost_high, 456);
AT(sl_bill_sum, cost_low, 464);
AT(sl_bill_sum, replica_device_ms, 472);
AT(sl_bill_sum, replica_cost_high, 480);
AT(sl_bill_sum, replica_cost_low, 488);

SIZE(sl_lease_filter, 56);
AT(sl_lease_filter, ended, 4);
AT(sl_lease_filter, before, 8);
AT(sl_lease_filter, limit, 16);
AT(sl_lease_filter, tenant, 24);
AT(sl_lease_filter, user, 40);

SIZE(sl_seal, 72);
AT(sl_seal, n, 4);
AT(sl_seal, first, 8);
AT(sl_seal, last, 16);
AT(sl_seal, wall_ms, 24);
AT(sl_seal, digest, 32);
AT(sl_seal, checks, 64);

SIZE(sl_store_ops, 128);
AT(sl_store_ops, size, 0);
AT(sl_store_ops, reserved, 4);
AT(sl_store_ops, last_seq, 8);
AT(sl_store_ops, append, 16);
AT(sl_store_ops, usage_sum, 24);
AT(sl_store_ops, usage_scan, 32);
AT(sl_store_ops, object_scan, 40);
AT(sl_store_ops, lease_scan, 48);
AT(sl_store_ops, lease_history, 56);
AT(sl_store_ops, append_sealed, 64);
AT(sl_store_ops, seal_scan, 72);
AT(sl_store_ops, record_scan, 80);
AT(sl_store_ops, audit, 88);
AT(sl_store_ops, bill_sum, 96);
AT(sl_store_ops, lease_list, 104);
AT(sl_store_ops, fold, 112);
AT(sl_store_ops, fold_scan, 120);

SIZE(sl_fold, 32);
AT(sl_fold, last, 8);
AT(sl_fold, part, 16);
AT(sl_fold, arg, 24);
SIZE(sl_fold_sum, 280);

SIZE(sl_launch_request, 56);
AT(sl_launch_request, size, 0);
AT(sl_launch_request, n_devices, 4);
AT(sl_launch_request, lease, 8);
AT(sl_launch_request, argv, 16);
AT(sl_launch_request, env, 24);
AT(sl_launch_request, cwd, 32);
AT(sl_launch_request, uid, 40);
AT(sl_launch_request, gid, 44);
AT(sl_launch_request, devices, 48);

SIZE(sl_launch_plan, 40);
AT(sl_launch_plan, size, 0);
AT(sl_launch_plan, reserved, 4);
AT(sl_launch_plan, ctx, 8);
AT(sl_launch_plan, add_arg, 16);
AT(sl_launch_plan, add_env, 24);
AT(sl_launch_plan, set_cwd, 32);

SIZE(sl_launcher_ops, 16);
AT(sl_launcher_ops, size, 0);
AT(sl_launcher_ops, reserved, 4);
AT(sl_launcher_ops, plan, 8);

#endif

IS(SL_OK, 0);
IS(SL_PENDING, 1);
IS(SL_NOT_MINE, 2);
IS(SL_EINVAL, -1);
IS(SL_EAUTH, -2);
IS(SL_EDENIED, -3);
IS(SL_ENOTFOUND, -4);
IS(SL_ECONFLICT, -5);
IS(SL_ELIMIT, -6);
IS(SL_EINTERNAL, -7);
IS(SL_EUPSTREAM, -8);
IS(SL_EUNAVAILABLE, -9);
IS(SL_ETIMEOUT, -10);
IS(SL_ENOMEM, -11);
IS(SL_EIO, -12);
IS(SL_ESTALE, -13);
IS(SL_EAGAIN, -14);
IS(SL_EFULL, -15);
IS(SL_ENOTSUP, -16);
IS(SL_ROLE_INFER, 1 << 0);
IS(SL_ROLE_LEASE, 1 << 1);
IS(SL_ROLE_OPERATOR, 1 << 2);
IS(SL_ROLE_ADMIN, 1 << 3);
IS(SL_USAGE_STREAM, 1 << 0);
IS(SL_USAGE_ESTIMATED, 1 << 1);
IS(SL_USAGE_CLIENT_CLOSED, 1 << 2);
IS(SL_USAGE_UPSTREAM_ERROR, 1 << 3);
IS(SL_USAGE_CLAMPED, 1 << 4);
IS(SL_KIND_BACKEND, 1);
IS(SL_KIND_SCHEDULER, 2);
IS(SL_KIND_AUTH, 3);
IS(SL_KIND_STORE, 4);
IS(SL_KIND_LAUNCHER, 5);
IS(SL_OPTION_BOOL, 1);
IS(SL_OPTION_INT, 2);
IS(SL_OPTION_DURATION, 3);
IS(SL_OPTION_BYTES, 4);
IS(SL_OPTION_STRING, 5);
IS(SL_OPTION_ENUM, 6);
IS(SL_OPTION_SECRET, 7);
IS(SL_OPTION_PATH, 8);
IS(SL_OPTION_JSON, 9);
IS(SL_OPTION_REQUIRED, 1 << 0);
IS(SL_OPTION_RELOADABLE, 1 << 1);
IS(SL_LOG_ERROR, 0);
IS(SL_LOG_WARN, 1);
IS(SL_LOG_INFO, 2);
IS(SL_LOG_DEBUG, 3);
IS(SL_HEALTH_OK, 0);
IS(SL_HEALTH_DEGRADED, 1);
IS(SL_HEALTH_FAULTY, 2);
IS(SL_HEALTH_LOST, 3);
IS(SL_ISOLATION_WHOLE, 1);
IS(SL_ISOLATION_PARTITION, 2);
IS(SL_ISOLATION_SHARE, 3);
IS(SL_DEVICE_FREE, 0);
IS(SL_DEVICE_HELD, 1);
IS(SL_DEVICE_GRANTED, 2);
IS(SL_DEVICE_SCRUBBING, 3);
IS(SL_DEVICE_DRAINING, 4);
IS(SL_DEVICE_FAULTY, 5);
IS(SL_DEVICE_PROBATION, 6);
IS(SL_DEVICE_DRAINED, 7);
IS(SL_ACTION_GRANT, 1);
IS(SL_ACTION_PREEMPT, 2);
IS(SL_ACTION_HOLD, 3);
IS(SL_ACTION_SUSPEND, 4);
IS(SL_ACTION_RESUME, 5);
IS(SL_ACTION_MOVE, 6);
IS(SL_ACTION_PROMOTE, 7);
IS(SL_ACTION_NOMINAL, 1 << 16);
IS(SL_ACTION_BORROWED, 1 << 17);
IS(SL_QUEUE_PREEMPT_OWN, 1 << 0);
IS(SL_QUEUE_RECLAIM, 1 << 1);
IS(SL_QUEUE_PREEMPT_OTHERS, 1 << 2);
IS(SL_LEASE_BORROWED, 1 << 0);
IS(SL_LEASE_HELD, 1 << 1);
IS(SL_LEASE_LEAVING, 1 << 2);
IS(SL_LEASE_SUSPENDABLE, 1 << 3);
IS(SL_LEASE_MOVABLE, 1 << 4);
IS(SL_LEASE_ONE_ISLAND, 1 << 5);
IS(SL_LEASE_SPAN, 1 << 6);
IS(SL_NONE, UINT32_MAX);
IS(SL_DOOR_INFERENCE, 1);
IS(SL_DOOR_CONTROL, 2);
IS(SL_RECORD_USAGE, 1);
IS(SL_RECORD_LEASE, 2);
IS(SL_RECORD_OBJECT, 3);
IS(SL_BY_DAY, 1 << 0);
IS(SL_BY_TENANT, 1 << 1);
IS(SL_BY_USER, 1 << 2);
IS(SL_BY_KEY, 1 << 3);
IS(SL_BY_MODEL, 1 << 4);
IS(SL_BY_HOUR, 1 << 5);
IS(SL_BY_QUEUE, 1 << 6);
IS(SL_BY_KIND, 1 << 7);
IS(SL_BY_LEASE, 1 << 8);
IS(SL_BY_PRICE, 1 << 9);
IS(SL_PLUGIN_MAGIC, 0x43554c53);
IS(SL_ABI_MAJOR, 1);
IS(SL_ERROR_TEXT, 248);
IS(SL_NAME_MAX, 64);
IS(SL_REQUEST_ID_MAX, 32);
IS(SL_KEY_PREFIX_MAX, 16);

int main(void)
{
	tap_ok(true, "the layout of ABI %d.%d was checked by the compiler", SL_ABI_MAJOR, SL_ABI_MINOR);
	return tap_done();
}
