# SPDX-License-Identifier: Apache-2.0
"""kill -9 of sluiced, of the agent or of both, at random moments of grant, prepare, run and release. What the jobs
themselves write down is the truth: each runs once, under one process id, and no two on one device at a time."""
import collections
import json
import os
import random
import signal
import sqlite3
import time

import pytest
from sluice_site import Site
from test_pool import agent_pid, wait_for

ROUNDS = int(os.environ.get("SLUICE_CRASH_ROUNDS", "2" if os.environ.get("SLUICE_QUICK") else "6"))
DEVICES = 4
HELD = ("granted", "prepared", "running", "releasing", "scrubbing")

POOL = f'''
workers(1)
plugin "backend/sim" {{ devices = {{ {{ count = {DEVICES}, vendor = "nvidia", model = "Sim H100", kind = "h100-80g", memory = "80G" }} }} }}
queue "default" {{ }}
tenant "default" {{ queues = {{ "default" }}, operators = true }}
'''

# Writes its process id once, then the time again and again, to a file of its own.
JOB = '''echo "pid $$ $SLUICE_DEVICES" >> {folder}/$SLUICE_LEASE
n=0; while [ $n -lt {beats} ]; do read up rest < /proc/uptime; echo "$up" >> {folder}/$SLUICE_LEASE; sleep 0.05; n=$((n+1)); done
echo done >> {folder}/$SLUICE_LEASE'''

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the agent starts jobs as their callers: needs root")


def beats(folder):
    """lease -> (process ids, devices, first and last sign of life, whether it came to its end)"""
    out = {}
    for lease in os.listdir(folder):
        with open(os.path.join(folder, lease)) as f:
            lines = [line.split() for line in f.read().split("\n") if line]
        times = [float(w[0]) for w in lines if w[0] not in ("pid", "done")]
        starts = [w for w in lines if w[0] == "pid"]
        out[lease] = ([w[1] for w in starts], starts[0][2].split(","), min(times, default=None), max(times, default=None), ["done"] in lines)
    return out


def submit(s, chance, folder):
    try:
        words = [] if chance.random() < 0.5 else ["-t", f"{chance.choice([2, 5, 30])}s"]
        s.ctl("run", "--detach", "-G", str(chance.choice([1, 1, 2, 3])), *words, "--", "sh", "-c",
              JOB.format(folder=folder, beats=chance.randint(1, 20)), check=False, timeout=20)
    except Exception:
        pass


def view(s):
    return {d["lease"]: d for d in s.admin("GET", "/v1/gpu/leases?all=1")[1]}


def check_log(s):
    """The leases' records, in their order: a device is in one living lease at most, and each lease ends once."""
    s.usage_rows(1)  # the store has everything now
    with sqlite3.connect(os.path.join(s.folder, "state", "sluice.db")) as store:
        rows = [(seq, json.loads(text)) for seq, text in store.execute("SELECT seq, json FROM lease_change ORDER BY seq")]
    holder, ends = {}, collections.Counter()
    for seq, r in rows:
        lease = r["lease"]
        for device in [d for d, who in holder.items() if who == lease]:
            del holder[device]
        if r["state"] in HELD and not r["ended"]:
            for d in r["devices"]:
                assert holder.get(d["uuid"], lease) == lease, f"record {seq}: {d['uuid']} is {holder[d['uuid']]}'s and goes to {lease}"
                holder[d["uuid"]] = lease
        ends[lease] += r["ended"]
    assert holder == {} and set(ends.values()) == {1}, ends
    return len(ends)


def test_kill_9_of_sluiced_and_agent(tmp_path):
    chance = random.Random(7)
    folder = str(tmp_path)
    os.chmod(folder, 0o777)
    with Site(POOL, agent=True) as s:
        s.start()
        wait_for(lambda: len(s.admin("GET", "/v1/gpu/devices")[1]) == DEVICES, "devices")
        for n in range(ROUNDS):
            for _ in range(chance.randint(2, 5)):
                submit(s, chance, folder)
            time.sleep(chance.uniform(0, 0.3))
            running = [d for d in view(s).values() if d["state"] == "running"]
            pids = {name: lease["pid"] for name, lease in s.agent_leases().items() if lease["pid"]}
            if running and chance.random() < 0.5:
                s.ctl("release", chance.choice(running)["lease"], check=False)
            time.sleep(chance.uniform(0, 0.15))
            what = chance.choice(["sluiced", "agent", "both"])
            agent = agent_pid(s)
            if what != "agent":
                s.kill()
            if what != "sluiced" and agent:
                os.kill(agent, signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.2))
            if what != "sluiced":
                s.revive_agent()
            if what != "agent":
                s.start()
            wait_for(lambda: s.admin("GET", "/v1/gpu/devices")[0] == 200 and s.agent_hello(), f"round {n}, {what}")
            # who goes on goes on under the same number, and until the same time
            after = view(s)
            for d in running:
                if d["lease"] in after and after[d["lease"]]["state"] == "running":
                    assert after[d["lease"]]["ends_at"] == d["ends_at"], (d, after[d["lease"]])
            for name, lease in s.agent_leases().items():
                if name in pids and lease["state"] == "running":
                    assert lease["pid"] == pids[name], f"{name} runs under another number"
        wait_for(lambda: all(d["ended_at"] for d in view(s).values()), "all leases to end", 20 + ROUNDS * 2)
        wait_for(lambda: [d["state"] for d in s.admin("GET", "/v1/gpu/devices")[1]] == ["free"] * DEVICES, "free devices", 30)
        seen, leases = beats(folder), check_log(s)
        for lease, (numbers, _, _, _, _) in seen.items():
            assert len(numbers) == 1, f"{lease} was started {len(numbers)} times"
        by_device = collections.defaultdict(list)
        for lease, (_, devices, first, last, _) in seen.items():
            if first is not None:
                for d in devices:
                    by_device[d].append((first, last, lease))
        for d, spans in by_device.items():
            spans.sort()
            for (_, last, one), (first, _, other) in zip(spans, spans[1:]):
                assert last <= first, f"{d}: {one} until {last}, {other} from {first}"
        before = {k: os.path.getsize(os.path.join(folder, k)) for k in seen}
        time.sleep(0.3)
        assert before == {k: os.path.getsize(os.path.join(folder, k)) for k in seen}, "something of an ended lease goes on"
        print(f"{ROUNDS} rounds, {leases} leases, {len(seen)} started, {sum(v[4] for v in seen.values())} came to their own end")
        assert len(seen) > ROUNDS
