# SPDX-License-Identifier: Apache-2.0
"""Two queues share a pool: one borrows what the other does not use, and gives it back when it is claimed."""
import os
import time

import pytest
from sluice_site import Site

SITE = '''
workers(1)
plugin "backend/sim" { devices = { { count = 2, vendor = "nvidia", model = "Sim H100", kind = "h100-80g", memory = "80G", island = "a" } } }
plugin "scheduler/fair" { half_life = "1d" }
cohort "site" { }
queue "owner" { gpus = 2, cohort = "site" }
queue "guest" { cohort = "site", min_run = "3s" }
tenant "default" { queues = { "owner", "guest" }, operators = true }
'''

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the agent starts jobs as their callers: needs root")


def wait_for(what, name, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {name}")


def test_the_owner_claims_what_was_borrowed():
    with Site(SITE, agent=True) as s:
        s.start()
        wait_for(lambda: len(s.admin("GET", "/v1/gpu/devices")[1]) == 2, "devices")

        def submit(queue, gpus, argv):
            code, lease = s.admin("POST", "/v1/gpu/leases", {"argv": argv, "gpus": gpus, "queue": queue, "detach": True, "cwd": "/"})[:2]
            assert code == 201, lease
            return lease["lease"]

        def lease(name):
            return s.admin("GET", f"/v1/gpu/leases/{name}")[1]

        guest = submit("guest", 2, ["sleep", "1000"])
        wait_for(lambda: lease(guest)["state"] == "running", "the guest")
        owner = submit("owner", 1, ["sleep", "1000"])
        seen = lease(owner)
        assert seen["state"] == "queued" and "is owed the devices" in seen["reason"], seen
        assert lease(guest)["state"] == "running"
        wait_for(lambda: lease(owner)["state"] == "running", "the owner")
        gone = lease(guest)
        assert gone["state"] == "suspended" and f"gave way to {owner} of queue owner" in gone["reason"], gone
        assert gone["run_s"] >= 2.9, "not before its minimum run time"
        # It would stand before all others of its queue until both devices are free again.
        s.admin("DELETE", f"/v1/gpu/leases/{guest}?notice_s=0")
        wait_for(lambda: lease(guest)["state"] == "ended", "the end of the first guest")
        # What is owed is not taken back by the other queue.
        again = submit("guest", 1, ["sleep", "1000"])
        wait_for(lambda: lease(again)["state"] == "running", "the guest on what is left")
        more = submit("guest", 1, ["true"])
        time.sleep(0.5)
        assert lease(more)["state"] == "queued" and lease(owner)["state"] == "running"
        assert s.metric("sluice_scheduler_refused_total") == 0
