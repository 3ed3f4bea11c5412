#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The load of Kueue's own performance test, in virtual time through a scheduler of ours. Run by hand:

  kueue.py SLUICECTL SCHEDULER [--suspendable ...]

30 queues in 5 cohorts; each is owed 20 devices and may borrow the rest of its cohort's 120. In each 350 jobs of 1, 100 of
5 and 50 of 20 devices arrive, the larger the more urgent. A millisecond of theirs is a second here, since traces have
whole seconds. Kueue's own run has no machines: ten of 60 devices hold three of its largest each, so packing costs little.
All that arrives is 66.0 s of work on all devices, and it arrives until 60 s, so nothing ends before 66.8 s.
What else is on the command line goes to sluicectl simulate."""
import json
import os
import subprocess
import sys
import tempfile

COHORTS, QUEUES, NOMINAL = 5, 6, 20
CLASSES = (("small", 350, 1, 200, 100, 50), ("medium", 100, 5, 500, 500, 100), ("large", 50, 20, 1000, 1200, 200))
MIN_RUN_S = 300
WORK_S = sum(count * devices * run for _, count, devices, run, _, _ in CLASSES) / NOMINAL


def write(folder):
    def path(name):
        return os.path.join(folder, name)
    with open(path("nodes.csv"), "w") as out:
        out.write("name,cpu_milli,memory_mib,gpu,model\n")
        for m in range(COHORTS * QUEUES * NOMINAL // 60):
            out.write("m%d,1000,1000,60,unit\n" % m)
    with open(path("jobs.csv"), "w") as out:
        out.write("name,cpu_milli,memory_mib,num_gpu,gpu_milli,queue,priority,creation_time,scheduled_time,deletion_time\n")
        for q in range(COHORTS * QUEUES):
            for name, count, devices, run, interval, priority in CLASSES:
                for i in range(count):
                    at = (i + 1) * interval
                    out.write("%s-%d-%d,1,1,%d,1000,q%d,%d,%d,%d,%d\n" % (name, q, i, devices, q, priority, at, at, at + run))
    with open(path("sluice.lua"), "w") as out:
        for c in range(COHORTS):
            out.write('cohort "c%d" { gpus = 0, borrow = 0 }\n' % c)
        for q in range(COHORTS * QUEUES):
            out.write('queue "q%d" { gpus = %d, borrow = %d, cohort = "c%d", preemptible = true, min_run = "%ds" }\n' %
                      (q, NOMINAL, NOMINAL * (QUEUES - 1), q // QUEUES, MIN_RUN_S))
    return path("nodes.csv"), path("jobs.csv"), path("sluice.lua")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        nodes, jobs, conf = write(folder)
        run = subprocess.run([sys.argv[1], "simulate", "--cluster", nodes, "--jobs", jobs, "--config", conf, "--scheduler",
                              sys.argv[2], "--json", *sys.argv[3:]], stdout=subprocess.PIPE)
        if run.returncode:
            sys.exit(run.returncode)
    answer = json.loads(run.stdout)
    span = answer["simulated_s"] + CLASSES[0][4]  # from the start of their clock on, not from the first arrival
    print("%s: %d jobs in %.1f s of theirs, useful %.1f%%, at work %.1f%%" %
          (answer["scheduler"], answer["jobs"], span / 1000, 100 * WORK_S / span, 100 * answer["used"]))
    print("preempted %d, suspended %d, resumed %d, promoted %d, refused %d, never started %d, lost %.1f%% of the devices' time" %
          tuple([answer[n] for n in ("preempted", "suspended", "resumed", "promoted", "refused", "never_started")] +
                [100 * answer["lost_gpu_s"] / answer["gpus"] / span]))
    for row in answer["waits"][:2]:
        print("%-6s %6d jobs, first start after p50 %.2f, p90 %.2f, p99 %.2f s" %
              (row["of"], row["leases"], row["wait_p50_s"] / 1000, row["wait_p90_s"] / 1000, row["wait_p99_s"] / 1000))


if __name__ == "__main__":
    main()
