# SPDX-License-Identifier: Apache-2.0
"""Who gives way is suspended, and goes on from where it was: same process, nothing of its work lost, whoever is killed."""
import json
import os
import pwd
import signal
import subprocess
import time

import pytest
from sluice_site import ROOT, Site

SITE = '''
workers(1)
plugin "backend/sim" { devices = { { count = 2, vendor = "nvidia", model = "Sim H100", kind = "h100-80g", memory = "80G" } },
                       control = "%s" }
plugin "scheduler/fair" { half_life = "1d" }
cohort "site" { }
queue "owner" { gpus = 2, cohort = "site" }
queue "guest" { cohort = "site" }
tenant "default" { queues = { "owner", "guest" }, operators = true }
kind "h100-80g" { gpu_hour = "3.60" }
'''

# Counts, and writes down each number: one that is missing, or comes twice, is lost work.
COUNTER = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the agent starts jobs as their callers: needs root")


def wait_for(what, name, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for {name}")


class Shared:
    """A site with a guest that counts on both devices, and an owner who may claim them."""

    def __init__(self, site, control, own):
        self.site, self.control = site, control
        self.own = own        # the first agent is ours, else sluiced's
        self.process = None

    def told(self, **faults):
        with open(self.control + ".new", "w") as f:
            json.dump(faults, f)
        os.rename(self.control + ".new", self.control)

    def submit(self, queue, gpus, argv, **more):
        code, lease = self.site.admin("POST", "/v1/gpu/leases", {"argv": argv, "gpus": gpus, "queue": queue, "detach": True, "cwd": "/",
                                                                 **more})[:2]
        assert code == 201, lease
        return lease["lease"]

    def lease(self, name):
        return self.site.admin("GET", f"/v1/gpu/leases/{name}")[1]

    def state(self, name, *states, seconds=30):
        seen = []

        def reached():
            try:
                seen[:] = [self.lease(name)]
            except OSError:
                return None
            return isinstance(seen[0], dict) and seen[0].get("state") in states and seen[0]
        try:
            return wait_for(reached, f"{name} to be {states}", seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}; it is {seen}\n{self.site.log_text()[-3000:]}") from None

    def at_agent(self, name):
        return self.site.agent_leases()[name]

    def guest(self, **more):
        wait_for(lambda: sum(d["state"] == "free" for d in self.site.admin("GET", "/v1/gpu/devices")[1]) == 2, "devices")
        name = self.submit("guest", 2, ["sh", "-c", COUNTER], **more)
        self.state(name, "running")
        wait_for(lambda: len(self.numbers(name)) > 3, "the guest to count")
        return name

    def numbers(self, name):
        out = os.path.join(self.site.folder, "state-agent", "leases", name, "out.log")
        with open(out) as f:
            return [int(line) for line in f.read().split("\n")[:-1]]

    def stands_still(self, name):
        before = self.numbers(name)
        time.sleep(0.3)
        return self.numbers(name) == before

    def check_count(self, name, pid, at_least):
        """It goes on: the same process, and the count has no gap and no repetition."""
        wait_for(lambda: len(self.numbers(name)) > at_least + 3, "the guest to count on")
        numbers = self.numbers(name)
        assert numbers == list(range(1, len(numbers) + 1))
        assert self.at_agent(name)["pid"] == pid

    def start_agent(self):
        state = self.site.folder + "/state-agent"
        if self.own:
            devices = [{"count": 2, "vendor": "nvidia", "kind": "h100-80g", "memory": "80G"}]
            what = ["--no-cgroup", "--backend", "sim", "--backend-options", json.dumps({"devices": devices, "control": self.control})]
        else:
            what = ["--config", state + "/agent.json"]
        self.process = subprocess.Popen(
            [os.path.join(ROOT, "sbin", "sluice-agent"), "--socket", self.site.agent_socket(), "--state", state,
             "--allow-uid", str(pwd.getpwnam("daemon").pw_uid), *what],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def kill_agent(self):
        pid = self.site.agent_hello()["pid"]
        os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()

        def gone():
            try:
                with open(f"/proc/{pid}/stat") as f:
                    return f.read().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                return True
        wait_for(gone, "the agent's end")

    def kill(self, who):
        """kill -9, and back again."""
        if "agent" in who:
            self.kill_agent()
        if "sluiced" in who:
            self.site.kill()
        if "agent" in who:
            self.start_agent()
        if "sluiced" in who:
            self.site.start()

    def close(self):
        for lease in self.site.admin("GET", "/v1/gpu/leases")[1]:
            if lease["ended_at"] is None:
                self.site.admin("DELETE", f"/v1/gpu/leases/{lease['lease']}?notice_s=0")
                self.state(lease["lease"], "ended", "cancelled")
        if self.process:
            self.process.terminate()
            self.process.wait()


@pytest.fixture(params=["cgroup", "processes"])
def shared(request, tmp_path):
    """Once with the cgroup freezer, where the machine has one, and once without."""
    own = request.param == "processes"
    with Site(SITE % (tmp_path / "control.json"), agent=not own) as s:
        if own:
            os.makedirs(s.folder + "/run")
            os.chmod(s.folder + "/run", 0o777)
        world = Shared(s, str(tmp_path / "control.json"), own)
        if own:
            world.start_agent()
        s.start()
        try:
            yield world
        finally:
            world.close()


def test_the_guest_is_suspended_and_goes_on(shared):
    guest = shared.guest()
    pid = shared.at_agent(guest)["pid"]
    owner = shared.submit("owner", 1, ["sh", "-c", "while [ ! -e " + shared.control + ".go ]; do sleep 0.05; done"])
    seen = shared.state(guest, "suspended")
    assert f"gave way to {owner} of queue owner, which is owed the devices" in seen["reason"], seen
    shared.state(owner, "running")
    first = shared.lease(guest)
    assert shared.stands_still(guest)
    count, second = len(shared.numbers(guest)), shared.lease(guest)
    assert first["run_s"] == second["run_s"] and first["gpu_s"] == second["gpu_s"] and second["age_s"] > first["age_s"]
    assert "queue guest can borrow 1 more devices" in second["reason"], second
    devices = {d["device"]: d["lease"] for d in shared.site.admin("GET", "/v1/gpu/devices")[1]}
    assert sorted(filter(None, devices.values())) == [owner]
    assert "suspended" in shared.site.ctl("leases").stdout
    assert f"gave way to {owner}" in shared.site.ctl("leases", "show", guest).stdout
    with open(shared.control + ".go", "w"):
        pass
    shared.state(guest, "running")
    shared.check_count(guest, pid, count)
    assert shared.lease(owner)["state"] == "ended"
    assert shared.site.metric("sluice_scheduler_refused_total") == 0
    shared.site.admin("DELETE", f"/v1/gpu/leases/{guest}?notice_s=5")
    over = shared.state(guest, "ended")
    assert over["gpu_s"] == pytest.approx(2 * over["run_s"], abs=0.002)


def test_a_suspended_lease_that_is_released_ends_and_leaves_others_their_devices(shared):
    guest = shared.guest()
    owner = shared.submit("owner", 2, ["sleep", "1000"])
    shared.state(guest, "suspended")
    shared.state(owner, "running")
    shared.site.admin("DELETE", f"/v1/gpu/leases/{guest}?notice_s=5")
    over = shared.state(guest, "ended")
    assert over["reason"].startswith("released by"), over
    assert shared.lease(owner)["state"] == "running"
    devices = [d["lease"] for d in shared.site.admin("GET", "/v1/gpu/devices")[1]]
    assert devices == [owner, owner]
    assert not os.path.exists(f"/proc/{shared.at_agent(guest)['pid']}")


def test_the_time_limit_stands_still(shared):
    guest = shared.guest(time_s=3)
    owner = shared.submit("owner", 1, ["sleep", "1000"])
    assert shared.state(guest, "suspended")["ends_at"] is None
    time.sleep(3.5)  # longer than it may run
    assert shared.lease(guest)["state"] == "suspended"
    shared.site.admin("DELETE", f"/v1/gpu/leases/{owner}?notice_s=0")
    shared.state(guest, "running")
    over = shared.state(guest, "expired")
    assert over["run_s"] >= 2.9 and "time limit" in over["reason"], over


@pytest.mark.parametrize("fault", ["fail", "break", "crash"])
def test_who_cannot_be_suspended_is_ended_with_notice(shared, fault):
    guest = shared.guest()
    shared.told(**{fault: "suspend"})
    owner = shared.submit("owner", 1, ["sleep", "1000"])
    over = shared.state(guest, "preempted")
    assert f"gave way to {owner}" in over["reason"] and "could not be suspended" in over["reason"], over
    shared.state(owner, "running")


def test_who_cannot_go_on_stays_suspended_and_is_tried_again(shared):
    guest = shared.guest()
    pid = shared.at_agent(guest)["pid"]
    owner = shared.submit("owner", 1, ["sleep", "1000"])
    shared.state(guest, "suspended")
    count = len(shared.numbers(guest))
    shared.told(fail="resume")
    shared.state(owner, "running")
    shared.site.admin("DELETE", f"/v1/gpu/leases/{owner}?notice_s=0")
    wait_for(lambda: "could not go on: told to fail: resume" in shared.lease(guest)["reason"], "the failure")
    assert shared.state(guest, "suspended") and shared.stands_still(guest)
    wait_for(lambda: [d["state"] for d in shared.site.admin("GET", "/v1/gpu/devices")[1]] == ["free", "free"], "free devices")
    shared.told()
    shared.state(guest, "running")
    shared.check_count(guest, pid, count)


def test_who_is_lost_on_the_way_back_has_failed(shared):
    guest = shared.guest()
    owner = shared.submit("owner", 1, ["sleep", "1000"])
    shared.state(guest, "suspended")
    shared.told(**{"break": "resume"})
    shared.site.admin("DELETE", f"/v1/gpu/leases/{owner}?notice_s=0")
    over = shared.state(guest, "failed")
    assert "could not go on: told to break: resume" in over["reason"], over
    wait_for(lambda: [d["state"] for d in shared.site.admin("GET", "/v1/gpu/devices")[1]] == ["free", "free"], "free devices")


@pytest.mark.parametrize("who", [("agent",), ("sluiced",), ("agent", "sluiced")], ids="+".join)
@pytest.mark.parametrize("moment", ["suspending", "suspended", "resuming"])
def test_kill_9_loses_no_work(shared, who, moment):
    guest = shared.guest()
    pid = shared.at_agent(guest)["pid"]
    shared.told(slow={"suspend": 700 if moment == "suspending" else 0, "resume": 700 if moment == "resuming" else 0})
    owner = shared.submit("owner", 1, ["sleep", "1000"])
    if moment == "suspending":
        shared.state(guest, "suspending")
        shared.kill(who)
    shared.state(guest, "suspended")
    shared.state(owner, "running")
    if moment == "suspended":
        shared.kill(who)
        wait_for(lambda: shared.site.admin("GET", "/v1/status")[1]["agents"][0]["state"] == "ready", "the agent")
    assert shared.lease(guest)["state"] == "suspended" and shared.lease(owner)["state"] == "running"
    assert shared.stands_still(guest)
    count = len(shared.numbers(guest))
    shared.site.admin("DELETE", f"/v1/gpu/leases/{owner}?notice_s=0")
    if moment == "resuming":
        shared.state(guest, "resuming")
        shared.kill(who)
    shared.state(guest, "running")
    shared.check_count(guest, pid, count)
    shared.state(owner, "ended")
