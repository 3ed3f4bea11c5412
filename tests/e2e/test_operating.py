# SPDX-License-Identifier: Apache-2.0
"""What probes, the service manager and an operator are told when something is ill."""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
from conftest import TOP, model
from sluice_site import ROOT, Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and stops a thread of another user: needs root")


def wait_for(what, name, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {name}")


@pytest.fixture
def small_disk(engine):
    """A site whose state is on a file system of its own."""
    with Site('workers(1)\njournal { segment = "1M" }\n' + model(engine)) as s:
        state = os.path.join(s.folder, "state")
        os.mkdir(state)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0777", "none", state], capture_output=True).returncode:
            pytest.skip("no right to mount a tmpfs")
        try:
            s.start()
            yield s
            s.stop()
        finally:
            s.kill()
            subprocess.run(["umount", state], check=True)


def test_full_disk_is_not_ready(small_disk):
    s = small_disk
    key, filler = s.key(), os.path.join(s.folder, "state", "filler")
    ready = lambda: s.http("GET", "/readyz")[0]
    assert ready() == 200 and s.admin("GET", "/readyz") == (200, "ready\n")
    with open(filler, "wb", buffering=0) as f, pytest.raises(OSError):
        while True:
            f.write(bytes(4096))
    end = time.monotonic() + 60
    while ready() == 200 and time.monotonic() < end:
        for _ in range(50):
            s.chat(key, max_tokens=2)
    status, _, body = s.http("GET", "/readyz")
    assert status == 503 and b"ledger" in body
    status, text = s.admin("GET", "/readyz")
    assert status == 503 and "the ledger takes no records: " in text and "space" in text.lower(), text
    assert s.http("GET", "/healthz")[0] == 200, "nothing would be better after a restart"
    shown = s.ctl("status").stdout
    assert "not ready: the ledger takes no records" in shown.split("\n")[0], shown
    assert s.metric("sluice_ready") == 0
    os.unlink(filler)
    wait_for(lambda: ready() == 200, "readiness")
    assert s.admin("GET", "/readyz") == (200, "ready\n")
    assert s.chat(key, max_tokens=2)[0] == 200
    assert s.metric("sluice_ready") == 1


class ServiceManager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o777)

    def heard(self, seconds):
        """All that comes in this time."""
        messages, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                messages.append(self.socket.recv(4096).decode())
            except TimeoutError:
                break
        return messages


class Stopped:
    """One thread of a process, held still."""
    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, thread):
        self.libc, self.thread = ctypes.CDLL(None, use_errno=True), thread
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def __enter__(self):
        if self.libc.ptrace(self.SEIZE, self.thread, None, None):
            pytest.skip("no right to stop a thread: " + os.strerror(ctypes.get_errno()))
        assert self.libc.ptrace(self.INTERRUPT, self.thread, None, None) == 0
        os.waitpid(self.thread, 0x40000000)  # __WALL: a thread that is no child

    def __exit__(self, *_):
        assert self.libc.ptrace(self.DETACH, self.thread, None, None) == 0


def workers_of(pid, n):
    """The workers' threads: made last, after libuv's own and the ledger's."""
    return sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))[-n:]


def test_watchdog_needs_every_worker(engine):
    with Site("workers(2)\n" + model(engine)) as s:
        path = os.path.join(s.folder, "notify")
        manager = ServiceManager(path)
        s.env |= {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1200000"}
        s.start()
        assert wait_for(lambda: "WATCHDOG=1" in manager.heard(0.5), "a sign of life")
        worker = workers_of(s.process.pid, 2)[1]
        with Stopped(worker):
            wait_for(lambda: "hangs: its loop has not turned" in s.log_text(), "a word about it")
            manager.heard(0.01)
            assert "WATCHDOG=1" not in manager.heard(2)
        wait_for(lambda: "turns again" in s.log_text(), "a word about it")
        assert wait_for(lambda: "WATCHDOG=1" in manager.heard(0.5), "a sign of life")
        assert s.stop() == 0


def test_two_agents_on_one_state_folder():
    with Site("workers(1)\n", agent=True) as s:
        s.start()
        with open(s.config_path) as f:
            text = f.read()
        other = s.write("other.lua", text.replace("agent.sock", "other-agent.sock").replace("control.sock", "other.sock"))
        p = subprocess.run([os.path.join(ROOT, "sbin", "sluiced"), "-c", other], capture_output=True, text=True, timeout=60)
        pid = s.agent_hello()["pid"]
        assert p.returncode == 1, p.stderr
        assert f"another sluice-agent (pid {pid}, at {s.folder}/run/agent.sock) has the state folder {s.folder}/state-agent: stop that one" \
            in p.stderr, p.stderr


def test_many_agents_at_once():
    """A service manager and sluiced start one at the same moment: one serves, the others say so and are not tried again."""
    with Site("workers(1)\n", agent=True) as s:
        socket_path, state = f"{s.folder}/run/agent.sock", f"{s.folder}/state-agent"
        os.makedirs(f"{s.folder}/run", exist_ok=True)
        command = [os.path.join(ROOT, "sbin", "sluice-agent"), "--socket", socket_path, "--state", state, "--backend", "sim"]
        agents = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
        try:
            wait_for(lambda: sum(p.poll() is not None for p in agents) == 7, "all but one to end")
            refused = [p for p in agents if p.poll() is not None]
            assert [p.returncode for p in refused] == [3] * 7
            one = next(p for p in agents if p.poll() is None)
            words = f"another sluice-agent (pid {one.pid}, at {socket_path}) has the state folder {state}: stop that one"
            assert all(words in p.stderr.read() for p in refused)
            assert s.agent_hello()["pid"] == one.pid
        finally:
            for p in agents:
                if p.poll() is None:
                    p.terminate()
                    p.wait(10)
                p.stderr.close()
    with open(os.path.join(TOP, "etc", "sluice-agent.service.in")) as f:
        assert "\nRestartPreventExitStatus=2 3\n" in f.read()


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_nothing_is_left_at_the_end(engine):
    """What was allocated is freed, so that a leak checker shows leaks and nothing else."""
    valgrind = ("valgrind", "-q", "--leak-check=full", "--show-leak-kinds=all", "--errors-for-leak-kinds=definite", "--vgdb=no",
                "--error-exitcode=99", "--trace-children=no", "--child-silent-after-fork=yes")
    with Site("workers(2)\n" + model(engine), policy="function lease(event) end\n") as s:
        s.start(prefix=valgrind, wait=False)
        s.wait_ready(60)
        key = s.key()
        for _ in range(5):
            assert s.chat(key, max_tokens=3)[0] == 200
        assert s.admin("POST", "/v1/reload", {})[0] == 200
        assert s.ctl("status").returncode == 0
        assert s.stop() == 0, s.log_text()[-4000:]
        # Metrics, plugins' shells and what libraries keep live until the process ends; what the rooms made does not.
        records = [r.split(" blocks are ")[0] for r in s.log_text().split("still reachable in loss record")[1:]]
        own = [r for r in records if not any(word in r for word in ("make_series", "metrics_", "plugin_load", "_dl_", "libcrypto"))]
        assert not any(room in r for r in own for room in ("identity_", "quota_", "route_", "policy_", "conf_load", "rooms_open")), \
            "\n".join(own)[:4000]


SIM = 'workers(1)\nplugin "backend/sim" { devices = 1 }\n'


def wait_for_agent(s, state):
    wait_for(lambda: s.admin("GET", "/v1/status")[1]["agents"][0]["state"] == state, f"an agent that is {state}")


def kill_agent(s):
    pid = s.agent_hello()["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for_agent(s, "away")
    return pid


def test_status_says_what_brings_the_agent_back():
    with Site(SIM, agent=True) as s:
        s.start()
        wait_for_agent(s, "ready")
        assert s.ctl("status").stdout.splitlines()[0].endswith("OK")
        kill_agent(s)
        told = s.ctl("status").stdout
        assert told.splitlines()[0].endswith("needs you"), told
        assert "cannot start it again: restart sluiced as root, or start sluice-agent" in told
        s.stop()
        s.start()
        wait_for_agent(s, "ready")
        assert s.ctl("status").stdout.splitlines()[0].endswith("OK")


def test_an_agent_that_dies_is_started_again():
    """By a sluiced that never was root."""
    with Site(SIM, agent=True) as s:
        os.chown(s.folder, 65534, 65534)
        s.start(prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
        pids = set()
        for _ in range(3):
            wait_for_agent(s, "ready")
            pids.add(kill_agent(s))
            assert "; sluiced starts it again" in s.log_text()
        wait_for_agent(s, "ready")
        assert len(pids) == 3
