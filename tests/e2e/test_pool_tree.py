# SPDX-License-Identifier: Apache-2.0
"""A job whose 200 processes try everything to stay: all are gone a moment after the notice, and only then is the device
free."""
import os
import time

import pytest
from sluice_site import Site
from test_pool import POOL, states, wait_for

ROUNDS = int(os.environ.get("SLUICE_TREE_ROUNDS", "2"))
NOTICE_S = 1

# Sessions of their own, orphans of a double fork, deaf to every signal that can be ignored, stopped ones, ones that
# start again what has died, and ones that do nothing but fork.
STAY = r'''
import os, signal, sys, time
def deaf():
    for n in range(1, signal.NSIG):
        try: signal.signal(n, signal.SIG_IGN)
        except (OSError, ValueError): pass
def sleep():
    while True: time.sleep(1)
def child(what):
    if os.fork() == 0:
        try: what()
        finally: os._exit(0)
def session(): os.setsid(); deaf(); sleep()
def orphan():
    os.setsid()
    if os.fork(): os._exit(0)
    deaf(); sleep()
def stopped(): deaf(); os.kill(os.getpid(), signal.SIGSTOP); sleep()
def again():
    deaf()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while True:
        if os.fork() == 0: time.sleep(0.5); os._exit(0)
        os.wait()
def forks():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        if os.fork(): time.sleep(0.02); os._exit(0)
        os.setsid()
for what in [session] * 60 + [orphan] * 60 + [stopped] * 58 + [again] * 20 + [forks] * 2: child(what)
print("ready", flush=True)
deaf()
sleep()
'''

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the agent starts jobs as their callers: needs root")


def processes(mark):
    """Those that carry the lease's mark in their environment, dead ones left out."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if mark in f.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def test_two_hundred_that_stay():
    with Site(POOL, agent=True) as s:
        s.start()
        wait_for(lambda: states(s) == ["free", "free"], "devices")
        program = s.write("stay.py", STAY)
        slowest = 0
        for n in range(ROUNDS):
            mark = f"STAYS={s.folder}/{n}"
            lease = s.ctl("run", "--detach", "--env", mark, "--", "python3", program).stdout.strip()
            wait_for(lambda: "ready" in s.ctl("logs", lease, check=False).stdout, "the job", 30)
            wait_for(lambda: len(processes(mark.encode())) >= 180, "its processes", 30)
            time.sleep(0.2)
            begin = time.monotonic()
            s.ctl("release", "-y", "--notice", f"{NOTICE_S}s", lease)
            freed = None
            while time.monotonic() - begin < 30:
                # first the device, then the processes: the device must not be free while one is left
                free = states(s) == ["free", "free"]
                left = processes(mark.encode())
                assert not (free and left), f"round {n}: the device is free and {len(left)} processes are left"
                if free:
                    freed = time.monotonic() - begin
                    break
                time.sleep(0.02)
            assert freed is not None, f"round {n}: not free after 30 s, {len(left)} left"
            slowest = max(slowest, freed)
        print(f"{ROUNDS} rounds, free again after {slowest:.2f} s at most, of them {NOTICE_S} s notice")
