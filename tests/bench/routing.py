#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules for choosing replicas, side by side: the capacity of each at fixed limits on each workload, in virtual time.

    tests/bench/routing.py SLUICECTL [--traces FOLDER] [--rules A,B] [--workloads A,B] [--seeds N] [--apart] [--out FILE]

The recorded traces are looked for in FOLDER and left out where it is not given. --apart: the workloads that nothing was
tuned on."""
import argparse
import concurrent.futures
import json
import math
import os
import subprocess
import sys

RULES = "cost,least-request,round-robin,power-of-two,cache-aware,llm-d,llm-d-gate,dynamo,preble,lmetric,greedy"
PEERS = ("least-request", "round-robin", "power-of-two", "cache-aware", "llm-d", "llm-d-gate", "dynamo", "preble", "lmetric")
BIG, SMALL = "8*qwen3-32b-2xh100", "8*qwen3-8b-h100"
MIXED = "4*llama3-8b-h100,4*llama3-8b-a100"

# name: (trace, cluster, further options, does it share prefixes)
WORKLOADS = {
    "shared-6-short": ("shared:groups=6,users=1000,prefix=1000,question=30,output=1000", BIG, (), True),
    "shared-6-long": ("shared:groups=6,users=1000,prefix=1000,question=3000,output=1000", BIG, (), True),
    "shared-150": ("shared:groups=150,users=5,prefix=6000,question=1200,output=1000", BIG, (), True),
    "shared-150-long": ("shared:groups=150,users=5,prefix=1000,question=6200,output=1000", BIG, (), True),
    "mooncake": ("mooncake-synthetic.jsonl", SMALL, (), True),
    "azure-code": ("azure-llm-2023-code.csv", SMALL, (), False),
    "hot-prefix": ("hot", SMALL, (), True),
    "cache-1.2x": ("shared:groups=490,users=0,prefix=6000,question=400,output=250", BIG, (), True),
    "long-prompts": ("long", SMALL, (), True),
    "mixed-gpus": ("shared:groups=300,users=0,prefix=8000,question=600,output=200", MIXED, (), True),
    "chat": ("chat", SMALL, (), False),
    "killed": ("shared:groups=150,users=5,prefix=6000,question=1200,output=1000", BIG, ("--kill", "0@100s+30s"), True),
}
APART = {
    "turns": ("turns", SMALL, (), True),
    "turns-long": ("turns:first=12000,question=800,output=400,turns=6,think=8", SMALL, (), True),
    "agents": ("agents", SMALL, (), True),
    "agents-mixed": ("agents:fan=2,result=600", MIXED, (), True),
    "hot-short": ("hot:share=0.9,prefix=1500,question=200,output=400", SMALL, (), True),
    "hot-half": ("hot:share=0.5,prefix=16000,groups=40,other=6000", SMALL, (), True),
    "long-rare": ("long:share=0.01,long=100000,output=400", SMALL, (), True),
    "chat-mixed": ("chat:question=800,output=300", MIXED, (), False),
    "shared-32": ("shared:groups=1200,users=0,prefix=3000,question=600,output=300", "32*qwen3-8b-h100", (), True),
    "answers": ("chat:question=150,output=1200,spread=0.5", SMALL, (), False),
}


def measure(program, traces, job):
    (name, (trace, cluster, options, _)), rule, seeds, time = job
    if trace.endswith((".jsonl", ".csv")):
        trace = os.path.join(traces, trace)
    command = [program, "simulate", "--trace", trace, "--cluster", cluster, "--policy", rule, "--capacity", "--time", time,
               "--seeds", str(seeds), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s, %s: %s" % (name, rule, done.stderr))
    row = json.loads(done.stdout)
    row = row[0] if isinstance(row, list) else row["items"][0]
    row["workload"] = name
    return row


def geometric(values):
    values = [v for v in values if v > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else 0


def show(rows, names, rules):
    rate = {(r["workload"], r["rule"]): r["rate"] for r in rows}
    print("capacity in requests a second at TTFT p90 < 2s and TPOT p90 < 50ms\n")
    print("%-16s" % "" + "".join("%14s" % rule for rule in rules) + "%14s" % "cost/best")
    for name in names:
        best = max([rate[name, r] for r in rules if r in PEERS] or [0])
        part = "%14.3f" % (rate[name, "cost"] / best) if best > 0 and "cost" in rules else "%14s" % "-"
        print("%-16s" % name + "".join("%14.2f" % rate[name, r] for r in rules) + part)
    if "cost" in rules:
        print("%-16s" % "cost/rule" + "".join("%14.3f" % geometric(
            [rate[n, "cost"] / rate[n, r] for n in names if rate[n, r] > 0]) for r in rules))


def detail(rows):
    print("\n%-16s %-14s %8s %9s %9s %9s %9s %9s %7s %7s" % ("at capacity", "", "req/s", "TTFT p50", "p90", "p99", "ITL p99",
                                                            "goodput", "hit", "error"))
    for r in rows:
        print("%-16s %-14s %8.2f %9.0f %9.0f %9.0f %9.1f %9.2f %6.1f%% %7s" % (
            r["workload"], r["rule"], r["rate"], r["ttft_p50_ms"], r["ttft_p90_ms"], r["ttft_p99_ms"], r["itl_p99_ms"],
            r["goodput"], 100 * r["hit_rate"], "%.0f%%" % (100 * r["prediction_error"]) if r["prediction_error"] >= 0 else "-"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--traces")
    parser.add_argument("--rules", default=RULES)
    parser.add_argument("--workloads")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--time", default="4m")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--detail", action="store_true")
    parser.add_argument("--out", help="the rows as JSON lines, added to the file")
    options = parser.parse_args()
    known = dict(WORKLOADS, **APART)
    names = options.workloads.split(",") if options.workloads else list(APART if options.apart else WORKLOADS)
    names = [n for n in names if options.traces or not known[n][0].endswith((".jsonl", ".csv"))]
    rules = options.rules.split(",")
    jobs = [((n, known[n]), r, options.seeds, options.time) for n in names for r in rules]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        rows = []
        for row in pool.map(lambda job: measure(options.program, options.traces, job), jobs):
            rows.append(row)
            if options.out:
                with open(options.out, "a") as file:
                    file.write(json.dumps(row) + "\n")
            if sys.stderr.isatty():
                print("\r%d of %d" % (len(rows), len(jobs)), end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    show(rows, names, rules)
    if options.detail:
        detail(rows)


if __name__ == "__main__":
    main()
