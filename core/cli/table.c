/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - the commands of sluicectl. Parser, --help, manual page and completion all come from here. */
#include "core/cli/output.h"

#define END_OPTIONS { NULL, 0, OPTION_FLAG, NULL, NULL, NULL, NULL, false }
#define FLAG(name, letter, help) { name, letter, OPTION_FLAG, NULL, NULL, help, NULL, false }
#define YES FLAG("yes", 'y', "do not ask")

const struct cli_option cli_global_options[] = {
	{ "socket", 0, OPTION_TEXT, "PATH", "SLUICE_URL, or " SLUICE_RUN_DIR "/control.sock",
	  "where sluiced listens: /PATH, unix:/PATH or http://HOST:PORT", NULL, false },
	{ "output", 'o', OPTION_TEXT, "FORMAT", "SLUICE_OUTPUT, or table",
	  "table, wide, json, jsonl, csv, name or columns=A,B", NULL, false },
	FLAG("json", 0, "the same as -o json"),
	FLAG("no-header", 0, "tables and CSV without their first line"),
	FLAG("utc", 0, "times in UTC instead of the local zone"),
	{ "color", 0, OPTION_TEXT, "WHEN", "auto", "auto, always or never", NULL, false },
	{ "timeout", 0, OPTION_DURATION, "TIME", "30s", "give up when sluiced is silent for so long", NULL, false },
	FLAG("help", 'h', "this page"),
	FLAG("version", 0, "the version, and nothing else"),
	END_OPTIONS
};

static const struct cli_option leases_options[] = {
	{ "all", 0, OPTION_FLAG, NULL, NULL, "everybody's leases (operator)", "all=1", false },
	{ "state", 0, OPTION_TEXT, "STATE", NULL, "open or ended", "state", false },
	{ "limit", 0, OPTION_NUMBER, "N", "100", "at most so many", "limit", false },
	{ "before", 0, OPTION_TEXT, "LEASE", NULL, "only older ones: the last of a list gives the next page", "before", false },
	END_OPTIONS
};

static const struct cli_option drain_device_options[] = {
	{ "reason", 0, OPTION_TEXT, "TEXT", NULL, "why, for those who look later", NULL, false },
	YES,
	END_OPTIONS
};

static const struct cli_option yes_options[] = { YES, END_OPTIONS };

static const struct cli_option run_options[] = {
	{ "gpus", 'G', OPTION_NUMBER, "N", "1", "GPUs to have, all on one machine", NULL, false },
	{ "kind", 0, OPTION_TEXT, "KIND", "any", "kind of GPU, as sluicectl devices shows it", NULL, false },
	{ "memory", 0, OPTION_BYTES, "SIZE", "any", "memory that each GPU must have at least, 40G for example", NULL, false },
	{ "time", 't', OPTION_DURATION, "TIME", "the queue's", "end it after so long", NULL, false },
	{ "queue", 'p', OPTION_TEXT, "QUEUE", "your first", "queue to wait in", NULL, false },
	{ "name", 'J', OPTION_TEXT, "NAME", "the program's", "name of the lease", NULL, false },
	{ "env", 0, OPTION_TEXT, "NAME[=VALUE]", NULL, "set a variable, or pass one on that would be kept back", NULL, true },
	FLAG("detach", 0, "print the lease and return; output: sluicectl logs -f LEASE"),
	FLAG("no-stdin", 0, "the program's input is empty"),
	FLAG("end-on-hangup", 0, "end the program when this terminal hangs up"),
	{ "report", 0, OPTION_TEXT, "FILE", NULL, "write the lease's end record as JSON", NULL, false },
	END_OPTIONS
};

static const struct cli_option attach_options[] = {
	{ "tail", 0, OPTION_NUMBER, "N", "all that is kept", "begin with the last N lines of each stream", NULL, false },
	FLAG("stdin", 0, "send standard input to the program, too"),
	FLAG("end-on-hangup", 0, "end the program when this terminal hangs up"),
	{ "report", 0, OPTION_TEXT, "FILE", NULL, "write the lease's end record as JSON", NULL, false },
	END_OPTIONS
};

static const struct cli_option logs_options[] = {
	FLAG("follow", 'f', "go on until the lease has ended; Ctrl-C leaves, the program goes on"),
	{ "tail", 0, OPTION_NUMBER, "N", "all that is kept", "only the last N lines of each stream", NULL, false },
	{ "source", 0, OPTION_TEXT, "out|err", "both", "only standard output, or only standard error", NULL, false },
	END_OPTIONS
};

static const struct cli_option release_options[] = {
	{ "notice", 0, OPTION_DURATION, "TIME", "the daemon's", "time between TERM and KILL", NULL, false },
	{ "reason", 0, OPTION_TEXT, "TEXT", NULL, "why, for the lease's history", NULL, false },
	YES,
	END_OPTIONS
};

static const struct cli_option tenant_options[] = {
	{ "tier", 0, OPTION_TEXT, "TIER", NULL, "its terms, as sluice.lua declares them", NULL, false },
	{ "queue", 0, OPTION_TEXT, "QUEUE", NULL, "a queue that it may use, the first is its default", NULL, true },
	{ "user", 0, OPTION_TEXT, "USER", NULL, "a Unix user who belongs to it", NULL, true },
	FLAG("operators", 0, "its members are operators"),
	END_OPTIONS
};

static const struct cli_option keys_options[] = {
	{ "tenant", 0, OPTION_TEXT, "TENANT", NULL, "only this tenant's", "tenant", false },
	END_OPTIONS
};

static const struct cli_option key_options[] = {
	{ "tenant", 0, OPTION_TEXT, "TENANT", NULL, "who pays", NULL, false },
	{ "user", 0, OPTION_TEXT, "USER", "you", "whose key it is", NULL, false },
	{ "expires", 0, OPTION_DURATION, "TIME", "never", "it stops working after so long", NULL, false },
	{ "role", 0, OPTION_TEXT, "ROLE", "infer", "what it is for: infer, or some of lease, operator, admin, for the web page", NULL, true },
	END_OPTIONS
};

static const struct cli_option usage_options[] = {
	{ "by", 0, OPTION_TEXT, "A,B", "model", "group by hour, day, tenant, user, key, model, queue, kind, lease", NULL, false },
	{ "since", 0, OPTION_TIME, "TIME", "this month", "from then on; days are UTC", "since", false },
	{ "until", 0, OPTION_TIME, "TIME", "now", "before then", "until", false },
	{ "tenant", 0, OPTION_TEXT, "TENANT", NULL, "only this tenant", "tenant", false },
	{ "key", 0, OPTION_TEXT, "KEY", NULL, "only this key", "key", false },
	{ "user", 0, OPTION_TEXT, "USER", NULL, "only this user", "user", false },
	{ "model", 0, OPTION_TEXT, "MODEL", NULL, "only this model", "model", false },
	{ "queue", 0, OPTION_TEXT, "QUEUE", NULL, "only leases of this queue", "queue", false },
	{ "kind", 0, OPTION_TEXT, "KIND", NULL, "only leases of this kind of device", "kind", false },
	{ "lease", 0, OPTION_TEXT, "LEASE", NULL, "only this lease", "lease", false },
	{ "format", 0, OPTION_TEXT, "focus", NULL, "CSV in the columns of FOCUS 1.4, for those who do the accounts", NULL, false },
	END_OPTIONS
};

static const struct cli_option verify_options[] = {
	{ "known", 0, OPTION_TEXT, "RECORD:DIGEST", NULL, "what an earlier look has shown: the chain must have it still", NULL, false },
	{ "file", 0, OPTION_TEXT, "FILE", NULL, "look at this SQLite store, or a copy of one, and ask no daemon", NULL, false },
	END_OPTIONS
};

static const struct cli_option limits_options[] = {
	{ "tenant", 0, OPTION_TEXT, "TENANT", "your own", "that apply to this tenant", "tenant", false },
	{ "key", 0, OPTION_TEXT, "KEY", NULL, "that apply to this key", "key", false },
	END_OPTIONS
};

static const struct cli_option eval_options[] = {
	{ "config", 0, OPTION_TEXT, "FILE", NULL, "decide here, with this sluice.lua, and ask no daemon", NULL, false },
	{ "tenant", 0, OPTION_TEXT, "TENANT", "default", "who calls", NULL, false },
	{ "tier", 0, OPTION_TEXT, "TIER", "the tenant's", "under which terms", NULL, false },
	{ "key", 0, OPTION_TEXT, "KEY", NULL, "with which key", NULL, false },
	{ "user", 0, OPTION_TEXT, "USER", NULL, "for whom", NULL, false },
	{ "model", 0, OPTION_TEXT, "MODEL", NULL, "model that is asked for", NULL, false },
	{ "door", 0, OPTION_TEXT, "DOOR", "chat", "chat, completions or embeddings", NULL, false },
	{ "prompt-tokens", 0, OPTION_NUMBER, "N", "10", "length of the prompt", NULL, false },
	{ "max-output", 0, OPTION_NUMBER, "N", "none", "the client's bound on the answer, tokens", NULL, false },
	FLAG("stream", 0, "a streamed answer"),
	FLAG("lease", 0, "decide on a lease, as sluicectl run would ask for it; so do the options below"),
	{ "name", 'J', OPTION_TEXT, "NAME", "job", "name of the lease", NULL, false },
	{ "program", 0, OPTION_TEXT, "NAME", NULL, "program to run", NULL, false },
	{ "queue", 'p', OPTION_TEXT, "QUEUE", "the tenant's", "queue to wait in", NULL, false },
	{ "gpus", 'G', OPTION_NUMBER, "N", "1", "GPUs to have", NULL, false },
	{ "kind", 0, OPTION_TEXT, "KIND", "any", "kind of GPU", NULL, false },
	{ "memory", 0, OPTION_BYTES, "SIZE", "any", "memory that each GPU must have at least", NULL, false },
	{ "limit", 't', OPTION_DURATION, "TIME", "the queue's", "end it after so long", NULL, false },
	END_OPTIONS
};

static const struct cli_option policy_options[] = {
	{ "config", 0, OPTION_TEXT, "FILE", NULL, "the site's sluice.lua: whose policy it is, and whose models and queues", NULL, false },
	END_OPTIONS
};

static const struct cli_option plugin_test_options[] = {
	{ "option", 0, OPTION_TEXT, "NAME=VALUE", NULL, "an option of the plugin, as in sluice.lua", NULL, true },
	END_OPTIONS
};

static const struct cli_option simulate_options[] = {
	{ "cluster", 0, OPTION_TEXT, "CLUSTER", NULL, "with --jobs the machines, as CSV; with --trace "
	  "COUNT*ENGINE,..., or a .csv of engines with their constants", NULL, false },
	{ "seed", 0, OPTION_NUMBER, "N", "1", "of all chances", NULL, false },
	{ "jobs", 0, OPTION_TEXT, "FILE", NULL, "the jobs, as CSV", NULL, false },
	{ "scheduler", 0, OPTION_TEXT, "NAME|FILE.so", "fair", "jobs: scheduler plugin to ask", NULL, false },
	{ "option", 0, OPTION_TEXT, "NAME=VALUE", NULL, "jobs: an option of the plugin, as in sluice.lua", NULL, true },
	{ "config", 0, OPTION_TEXT, "FILE", NULL, "jobs: sluice.lua whose queues, cohorts and plugin options hold", NULL, false },
	{ "every", 0, OPTION_NUMBER, "N", "1", "jobs: keep every N-th machine of each shape", NULL, false },
	{ "copies", 0, OPTION_NUMBER, "N", "1", "jobs: let each come N times", NULL, false },
	{ "services", 0, OPTION_NUMBER, "N", "as --copies, at most 6", "jobs: the same for those that end only with the record", NULL, false },
	{ "shift", 0, OPTION_DURATION, "TIME", "12h", "jobs: copies come later by up to so much, at random", NULL, false },
	FLAG("preemptible", 0, "jobs: every one may be evicted, not only those of preemptible queues"),
	FLAG("suspendable", 0, "jobs: who gives way is suspended and loses no work"),
	FLAG("until-last", 0, "jobs: stop at the last arrival; what waits then has waited until then"),
	{ "trace", 0, OPTION_TEXT, "TRACE", NULL,
	  "a file of Mooncake (.jsonl) or Azure (.csv), or a workload to make: shared, hot, long, chat, turns, agents, with "
	  ":KEY=VALUE,... to change it", NULL, false },
	{ "policy", 0, OPTION_TEXT, "RULE", "cost", "trace: which rule chooses replicas", NULL, false },
	{ "compare", 0, OPTION_TEXT, "RULE,...", NULL, "trace: further rules, on the same requests; all: every one", NULL, false },
	{ "rate", 0, OPTION_TEXT, "N", "the trace's own, or 10", "trace: requests a second", NULL, false },
	{ "time", 0, OPTION_DURATION, "TIME", "5m", "trace: for so long requests come, of a workload that is made", NULL, false },
	{ "capacity", 0, OPTION_FLAG, NULL, NULL, "trace: find the largest rate at which the limits are kept", NULL, false },
	{ "slo", 0, OPTION_TEXT, "LIMITS", "ttft=2s,tpot=50ms,share=0.9", "trace: limits, and how many of the requests must keep each",
	  NULL, false },
	{ "seeds", 0, OPTION_NUMBER, "N", "1", "trace: run with so many seeds, and show the mean", NULL, false },
	{ "kill", 0, OPTION_TEXT, "N@AT+TIME", NULL, "trace: replica N dies at AT and is back, empty, after TIME: 0@60s+30s", NULL, false },
	END_OPTIONS
};

#define LIST(noun_, alias_, role_, list_, options_, summary_, examples_) \
	{ .noun = noun_, .alias = alias_, .role = role_, .list = &list_, .options = options_, .summary = summary_, \
	  .examples = examples_, .run = list_run }

const struct cli_command cli_commands[] = {
	{ .noun = "status", .role = "anyone", .summary = "how it is, on one screen, and what needs a person",
	  .examples = "status\nstatus --json", .run = status_run },

	{ .noun = "run", .role = "lease", .args = "[--] PROGRAM [ARGUMENT...]", .args_min = 1, .args_max = -1,
	  .options = run_options, .summary = "run a program on GPUs", .program = true,
	  .text = "Asks for a lease, waits for it, runs the program and passes input, output and signals. The working "
	          "directory and the environment go along, but for SLUICE_TOKEN* and *_API_KEY, which --env passes on. "
	          "Ctrl-C cancels while it waits and is sent to the program when it runs; a second one within 2 seconds "
	          "releases the lease. The program outlives this terminal: sluicectl attach LEASE comes back to it. No "
	          "output is lost while something reads it: the program waits, as with any pipe. It does not wait for one that "
	          "reads nothing for limits.output_wait, 30 s; what is lost then is said, and the exit code is not 0. The "
	          "exit code is the program's; see sluicectl help exit-codes.",
	  .examples = "run -G 2 -t 2h -- python train.py\nrun --memory 40G -p research -J sweep -- ./sweep.sh\n"
	              "run --detach -- ./nightly.sh  prints the lease, L1042",
	  .run = run_run },
	{ .noun = "attach", .role = "owner", .args = "LEASE", .args_min = 1, .args_max = 1, .options = attach_options,
	  .summary = "come back to a program that runs", .program = true,
	  .text = "Output from what is kept of it, Ctrl-C and exit code as with sluicectl run. SIGTERM and a hangup end attach "
	          "alone: the program goes on. So does Ctrl-C at a model's replica.",
	  .examples = "attach L1042\nattach --tail 20 train", .run = attach_run },
	{ .noun = "logs", .alias = "log", .role = "owner", .args = "LEASE", .args_min = 1, .args_max = 1,
	  .options = logs_options, .summary = "what a program has written",
	  .text = "Its output to stdout, its errors to stderr: the last 256 KiB of each, or with -f all that is kept and "
	          "then what comes. The last 4 MiB of each are kept while it runs and for an hour after its end, of the last "
	          "1,000 leases that have ended.",
	  .examples = "logs L1042\nlogs -f --tail 100 L1042\nlogs --source err L1042", .run = logs_run },
	{ .noun = "release", .role = "owner", .args = "LEASE...", .args_min = 1, .args_max = CLI_ARGS_MAX,
	  .options = release_options, .summary = "end leases, or cancel waiting ones",
	  .examples = "release L1042\nrelease --notice 1m L1042 L1043", .run = release_run },

	LIST("devices", "device", "anyone", devices_list, NULL, "GPUs and who has them",
	     "devices\ndevices -o columns=device,state,holder"),
	{ .noun = "devices", .alias = "device", .verb = "show", .role = "anyone", .args = "DEVICE", .args_min = 1,
	  .args_max = 1, .summary = "all about one GPU", .examples = "devices show node1/gpu0", .run = devices_show_run },
	{ .noun = "devices", .alias = "device", .verb = "drain", .role = "operator", .args = "DEVICE", .args_min = 1,
	  .args_max = 1, .options = drain_device_options, .summary = "no new lease on a GPU",
	  .examples = "devices drain node1/gpu3 --reason 'fan is loud'", .run = devices_drain_run },
	{ .noun = "devices", .alias = "device", .verb = "undrain", .role = "operator", .args = "DEVICE", .args_min = 1,
	  .args_max = 1, .summary = "leases on a GPU again", .examples = "devices undrain node1/gpu3",
	  .run = devices_undrain_run },

	LIST("leases", "lease", "anyone", leases_list, leases_options, "your leases, newest first",
	     "leases\nleases --all --state open -o wide"),
	{ .noun = "leases", .alias = "lease", .verb = "show", .role = "owner", .args = "LEASE", .args_min = 1,
	  .args_max = 1, .summary = "all about one lease, with its history", .examples = "leases show L1042",
	  .run = leases_show_run },

	LIST("models", "model", "anyone", models_list, NULL, "models that can be called", "models\nmodels -o wide"),
	{ .noun = "models", .alias = "model", .verb = "show", .role = "anyone", .args = "MODEL", .args_min = 1,
	  .args_max = 1, .summary = "all about one model", .examples = "models show llama-8b", .run = models_show_run },
	{ .noun = "models", .alias = "model", .verb = "start", .role = "operator", .args = "MODEL", .args_min = 1,
	  .args_max = 1, .summary = "one replica more", .examples = "models start llama-8b", .run = models_start_run },
	{ .noun = "models", .alias = "model", .verb = "stop", .role = "operator", .args = "MODEL", .args_min = 1,
	  .args_max = 1, .options = yes_options, .summary = "drain and stop its replicas",
	  .examples = "models stop llama-8b --yes", .run = models_stop_run },
	LIST("replicas", "replica", "anyone", replicas_list, NULL, "serving processes and endpoints", "replicas"),

	LIST("tenants", "tenant", "operator", tenants_list, NULL, "who pays, and under which terms", "tenants"),
	{ .noun = "tenants", .alias = "tenant", .verb = "create", .role = "admin", .args = "NAME", .args_min = 1,
	  .args_max = 1, .options = tenant_options, .summary = "a new tenant",
	  .examples = "tenants create physics --tier free --queue research --user dana", .run = tenants_create_run },
	{ .noun = "tenants", .alias = "tenant", .verb = "delete", .role = "admin", .args = "NAME", .args_min = 1,
	  .args_max = 1, .options = yes_options, .summary = "remove a tenant that has no keys",
	  .examples = "tenants delete physics", .run = tenants_delete_run },

	LIST("keys", "key", "anyone", keys_list, keys_options, "API keys: your own; a tenant's, for operators and admins", "keys\nkeys --tenant physics"),
	{ .noun = "keys", .alias = "key", .verb = "create", .role = "admin", .args = "[NAME]", .args_max = 1,
	  .options = key_options, .summary = "a new key, on stdout, once",
	  .examples = "keys create notebook --tenant physics --user dana --expires 90d\n"
	              "keys create page --tenant staff --role operator,admin --expires 30d", .run = keys_create_run },
	{ .noun = "keys", .alias = "key", .verb = "disable", .role = "admin", .args = "KEY", .args_min = 1,
	  .args_max = 1, .summary = "stop a key at once", .examples = "keys disable slk_7Q2MXpVt",
	  .run = keys_disable_run },
	{ .noun = "keys", .alias = "key", .verb = "enable", .role = "admin", .args = "KEY", .args_min = 1,
	  .args_max = 1, .summary = "let a disabled key work again", .examples = "keys enable slk_7Q2MXpVt",
	  .run = keys_enable_run },
	{ .noun = "keys", .alias = "key", .verb = "delete", .role = "admin", .args = "KEY", .args_min = 1,
	  .args_max = 1, .options = yes_options, .summary = "remove a disabled key",
	  .examples = "keys delete slk_7Q2MXpVt", .run = keys_delete_run },

	{ .noun = "usage", .role = "anyone", .options = usage_options, .summary = "what was used, and what it costs",
	  .text = "Requests and leases in one bill. Totals come from the ledger: every way to ask gives the same figures. Days and "
	          "hours are UTC. A running lease stands in it up to the last full hour (charge_every of sluice.lua), and in the "
	          "hour in which it used its GPUs. What serves models is in no cost, since the tokens are paid for: -o wide "
	          "shows operators its GPU hours and what they would cost.",
	  .examples = "usage\nusage --by day,model --since 2026-11-01\nusage --by tenant -o csv\n"
	              "usage --by lease,kind --queue research\nusage --format focus --since 2026-11-01 --until 2026-12-01",
	  .run = usage_run },
	LIST("limits", "limit", "anyone", limits_list, limits_options, "limits that hold, and what is left of them",
	     "limits\nlimits --key slk_7Q2MXpVt"),
	{ .noun = "ledger", .role = "operator", .summary = "the ledger's counters", .examples = "ledger",
	  .run = ledger_run },
	{ .noun = "ledger", .verb = "verify", .role = "operator", .options = verify_options,
	  .summary = "are all records those that were written",
	  .text = "Works out the chained digests of all records anew, and compares. Says up to which record all is well, or names "
	          "the first that was changed, is missing or was never written by the ledger, and ends with 1. Whoever could "
	          "change the store's file could make all digests anew: note what this prints, elsewhere, and give it to --known "
	          "the next time. Of records that became sums (ledger.keep of sluice.lua) the digest of each day's last one is "
	          "left, and is believed. --file needs no sluiced and changes nothing: it finds what the store has, not what the "
	          "journal still holds for it.",
	  .examples = "ledger verify\nledger verify --known 48210:7f3a2c91...\nledger verify --file /backup/sluice.db", .run = ledger_verify_run },

	{ .noun = "reload", .role = "operator", .summary = "read the configuration again",
	  .text = "When something is wrong with it, all findings are printed and the running one stays.",
	  .examples = "reload", .run = reload_run },
	{ .noun = "drain", .role = "operator", .options = yes_options, .summary = "take no new request or lease; what runs goes on",
	  .text = "Requests and sluicectl run are refused until sluicectl undrain, or until sluiced starts again. Leases that run "
	          "or wait go on, and so do those of models' replicas.",
	  .examples = "drain --yes", .run = drain_run },
	{ .noun = "undrain", .role = "operator", .summary = "take requests and leases again", .examples = "undrain",
	  .run = undrain_run },
	{ .noun = "config", .verb = "init", .summary = "a commented sluice.lua that says what runs without one",
	  .examples = "config init > /etc/sluice/sluice.lua", .run = config_init_run },
	{ .noun = "config", .verb = "check", .args = "[FILE]", .args_max = 1, .summary = "find what is wrong with a sluice.lua",
	  .text = "Looks at the file, and all that it includes, here: no daemon is asked. Without FILE it is "
	          SLUICE_CONF_DIR "/sluice.lua.",
	  .examples = "config check ./sluice.lua", .run = config_check_run },
	{ .noun = "config", .verb = "show", .role = "operator", .summary = "the running configuration, without secrets",
	  .examples = "config show --json", .run = config_show_run },
	{ .noun = "policy", .verb = "check", .args = "[FILE]", .args_max = 1, .options = policy_options,
	  .summary = "find what is wrong with a policy",
	  .text = "Undefined names, wrong fields, failing tests; here, without a daemon. Without FILE it is the policy that "
	          SLUICE_CONF_DIR "/sluice.lua names, or the standard one.",
	  .examples = "policy check ./policy.lua\npolicy check --config ./sluice.lua", .run = policy_check_run },
	{ .noun = "policy", .verb = "test", .args = "[FILE]", .args_max = 1, .options = policy_options,
	  .summary = "run the tests of a policy",
	  .text = "Calls every test_* function of the file, here, without a daemon. Without FILE as with policy check. Exits with 1 "
	          "when one fails, and when there is none.",
	  .examples = "policy test ./policy.lua", .run = policy_test_run },
	{ .noun = "policy", .verb = "eval", .role = "operator", .options = eval_options,
	  .summary = "one decision, and the line that made it",
	  .examples = "policy eval --tenant physics --model llama-70b\n"
	              "policy eval --config ./sluice.lua --tier free --model llama-70b --prompt-tokens 3000\n"
	              "policy eval --tenant physics --lease -G 8 -t 2d --program python",
	  .run = policy_eval_run },
	LIST("plugins", "plugin", "operator", plugins_list, NULL, "plugins that run", "plugins"),
	{ .noun = "plugins", .alias = "plugin", .verb = "list", .summary = "plugins that are installed here",
	  .text = "Each file is looked at in a process of its own. SLUICE_PLUGIN_PATH names another folder.",
	  .examples = "plugins list", .run = plugin_list_run },
	{ .noun = "plugins", .alias = "plugin", .verb = "check", .args = "FILE", .args_min = 1, .args_max = 1,
	  .summary = "would sluice load this file, and if not, why",
	  .text = "Ends with 0, or with a code from 65 on that tells one reason from another; see sluice/plugin.h.",
	  .examples = "plugins check ./fair2.so", .run = plugin_check_run },
	{ .noun = "plugins", .alias = "plugin", .verb = "test", .args = "FILE", .args_min = 1, .args_max = 1,
	  .options = plugin_test_options, .summary = "does this backend keep what backend.h promises",
	  .text = "For plugins of the kind backend. A line for each promise, tried in a process of its own with a deadline. Devices are prepared, released, "
	          "and so scrubbed: run it where no lease has them. Devices on which the backend sees a process are left alone. "
	          "Ends with 1 when a promise is broken.",
	  .examples = "plugins test ./mygpu.so\nplugins test ./mygpu.so --option root=/tmp/sys --json", .run = plugin_test_run },
	{ .noun = "simulate", .options = simulate_options,
	  .summary = "jobs through a scheduler, or requests through a router, in virtual time",
	  .text = "--jobs loads the scheduler as sluiced does; --trace sends requests by sluiced's own rules, or another router's, to "
	          "models of engines. No daemon is asked. Columns, and what is left out: sluicectl help simulation.",
	  .examples = "simulate --cluster nodes.csv --jobs jobs.csv --every 10 --copies 12 --until-last\n"
	              "simulate --cluster nodes.csv --jobs jobs.csv --config ./sluice.lua --scheduler ./mine.so --json\n"
	              "simulate --cluster '8*qwen3-8b-h100' --trace mooncake.jsonl --capacity --compare all",
	  .run = simulate_run },
	{ .noun = "version", .summary = "the version", .examples = "version", .run = version_run },
	{ .noun = "completion", .args = "bash|zsh|fish", .args_min = 1, .args_max = 1, .summary = "a shell's completion script",
	  .examples = "completion bash > /etc/bash_completion.d/sluicectl", .run = completion_run },
	{ .noun = "help", .args = "[TOPIC...]", .args_max = 2, .summary = "help on a command or a topic",
	  .examples = "help\nhelp run\nhelp exit-codes", .run = help_run },
	{ .noun = "__man", .hidden = true, .summary = "the manual page", .run = man_run },
	{ .noun = "__complete", .hidden = true, .args = "NOUN", .args_min = 1, .args_max = 1, .role = "anyone",
	  .summary = "names for the completion", .run = complete_run },
	{ .noun = NULL }
};

const struct cli_topic cli_topics[] = {
	{ "simulation", "what sluicectl simulate reads and what it leaves out",
	  "--jobs   Columns of the machines: sn or name, cpu_milli, memory_mib, gpu (how many), model. Of the\n"
	  "         jobs: name, cpu_milli, memory_mib, num_gpu, gpu_milli; where they are there gpu_spec\n"
	  "         (models that will do, with | between them), queue (else qos), priority, and in seconds\n"
	  "         creation_time, scheduled_time, deletion_time, time_limit. A sluice.lua must have the jobs'\n"
	  "         queues; without one they are owed nothing and may borrow everything.\n"
	  "         The scheduler's answers are held to sluiced's own checks. As with real leases devices are\n"
	  "         whole: a job that wants a part of a GPU gets one for itself. A job runs on one machine.\n"
	  "         Cpu and host memory are not counted; jobs without a GPU do not wait; those without a\n"
	  "         recorded run are left out. A job that would do with several models is bound to the one\n"
	  "         of which there is most. Without time_limit its limit is three times its run, rounded up\n"
	  "         to a quarter of an hour. Starting takes no time. Who is preempted uses 30 s of notice,\n"
	  "         loses its work and asks again at once; with --suspendable it loses none.\n"
	  "--trace  Engines are models: batches, chunked prefill, KV caches with preemption. Expect the order\n"
	  "         of rules from it, not milliseconds.\n" },
	{ "exit-codes", "exit codes",
	  "0    done\n"
	  "1    failed, or refused by sluiced\n"
	  "2    wrong usage, or a question must be asked and there is no terminal\n"
	  "3    no connection to sluiced\n"
	  "4    not known, or no right\n"
	  "5    denied by limit, quota or policy: do not retry\n"
	  "6    a wait ran out\n"
	  "run and attach end with the program's own code, and these:\n"
	  "128+N   signal N ended it\n"
	  "123  it ended with 0, but bytes of its output were lost on the way\n"
	  "124  its time was over\n"
	  "125  sluice failed before the program began, or the lease was refused, cancelled or preempted\n"
	  "126  the program cannot be executed\n"
	  "127  there is no such program\n"
	  "130, 143   cancelled by Ctrl-C or TERM while it waited\n"
	  "run --report FILE tells sluice's 125 from a program's own.\n" },
	{ "output", "output formats",
	  "Data goes to stdout, everything else to stderr.\n"
	  "-o table      what people read; the same into a pipe, without colour and never cut\n"
	  "-o wide       more columns\n"
	  "-o json       one document, exactly as sluiced answers; errors are one JSON line on stderr\n"
	  "-o jsonl      one row a line\n"
	  "-o csv        exact values: money in full, times in UTC, sizes in bytes\n"
	  "-o name       names only, one a line\n"
	  "-o columns=A,B   these columns, in this order, by title or field, in any case\n" },
	{ "settings", "settings",
	  "An option wins over the environment, the environment over the default.\n"
	  "SLUICE_URL      where sluiced listens: unix:/PATH or http://HOST:PORT; --socket\n"
	  "SLUICE_OUTPUT   output format; -o\n"
	  "NO_COLOR        no colour when it is not empty; --color\n"
	  "On the machine itself nothing needs to be set: the kernel tells sluiced who is calling.\n" },
	{ NULL, NULL, NULL }
};
