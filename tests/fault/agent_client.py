# SPDX-License-Identifier: Apache-2.0
"""A client of the agent protocol, an agent of its own to talk to, and TAP lines."""
import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("top_builddir", ".")
UID = 65534
# A Python that any user may run, or else this one, which root may.
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
PYTHON_UID = UID if PYTHON == "/usr/bin/python3" else 0


class Client:
    def __init__(self, path, hello=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.number = 0
        self.events = []
        if hello:
            self.hello = self.ok("hello", version=1)

    def send(self, message):
        data = json.dumps(message).encode()
        self.socket.sendall(struct.pack(">I", len(data)) + data)

    def _bytes(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError("the agent closed the connection")
            data += more
        return data

    def receive(self, timeout=30):
        self.socket.settimeout(timeout)
        return json.loads(self._bytes(struct.unpack(">I", self._bytes(4))[0]))

    def call(self, op, **fields):
        self.number += 1
        number = self.number
        self.send(dict(id=number, op=op, **fields))
        while True:
            message = self.receive()
            if message.get("id") == number:
                return message
            self.events.append(message)

    def ok(self, op, **fields):
        answer = self.call(op, **fields)
        if "ok" not in answer:
            raise AssertionError("%s: %s" % (op, answer))
        return answer["ok"]

    def code(self, op, **fields):
        return self.call(op, **fields).get("error", {}).get("code", 0)

    def event(self, name, timeout=30, **fields):
        def fits(event):
            return event.get("event") == name and all(event.get(k) == v for k, v in fields.items())
        for event in self.events:
            if fits(event):
                self.events.remove(event)
                return event
        end = time.monotonic() + timeout
        while True:
            event = self.receive(max(0.1, end - time.monotonic()))
            if fits(event):
                return event
            self.events.append(event)

    def start(self, lease, argv, **fields):
        fields = dict(dict(env={}, uid=UID, gid=UID, devices=[], stdin=False), **fields)
        return self.ok("start", lease=lease, argv=argv, **fields)

    def run(self, lease, argv, **fields):
        """Starts it, waits for its end: (ended, out, err)."""
        self.start(lease, argv, **fields)
        ended = self.event("ended", lease=lease)
        return ended, self.log(lease, "out"), self.log(lease, "err")

    def end_of(self, lease):
        """How it ended, also when that was before this connection said hello."""
        known = [l for l in self.ok("list")["leases"] if l["lease"] == lease and l["state"] == "ended"]
        return known[0] if known else self.event("ended", lease=lease)

    def log(self, lease, source, at=0):
        data = b""
        while True:
            part = self.ok("logs", lease=lease, source=source, max=200000, **{"from": at})
            data += base64.b64decode(part["data"])
            at = part["next"]
            if at >= part["size"]:
                return data.decode(errors="replace")

    def wait_log(self, lease, text, source="out", timeout=20):
        end = time.monotonic() + timeout
        while text not in self.log(lease, source):
            if time.monotonic() > end:
                raise AssertionError("%s does not say %r but %r" % (lease, text, self.log(lease, source)))
            time.sleep(0.05)


class Agent:
    """One state folder, and the agent that works on it."""

    def __init__(self, *arguments, devices=None, control=True):
        self.folder = tempfile.mkdtemp(prefix="sluice-agent-test.")
        os.chmod(self.folder, 0o755)
        self.socket = self.folder + "/agent.sock"
        self.control = self.folder + "/control.json"
        self.state = self.folder + "/state"
        for kind, name, built in (("backend", "sim", "backends/sim"), ("launcher", "exec", "plugins/launcher/exec")):
            os.makedirs("%s/plugins/%s" % (self.folder, kind), 0o755)
            shutil.copy("%s/%s/.libs/%s.so" % (BUILD, built, name), "%s/plugins/%s/" % (self.folder, kind))
        options = {"devices": devices or [{"count": 4, "kind": "h100", "memory": "80G"}]}
        if control:
            options["control"] = self.control
        config = {"machine": "testbox", "backends": [{"name": "sim", "options": options}], "launcher": {"name": "exec"}}
        with open(self.folder + "/agent.json", "w") as f:
            json.dump(config, f)
        self.arguments = list(arguments)
        self.log_path = self.folder + "/agent.log"
        self.process = None
        self.up()

    def command(self):
        return [BUILD + "/sluice-agent", "--socket", self.socket, "--state", self.state, "--config",
                self.folder + "/agent.json"] + self.arguments

    def up(self):
        environment = dict(os.environ, SLUICE_PLUGIN_PATH=self.folder + "/plugins", SECRET_OF_AGENT="x",
                           WATCHDOG_USEC="1")
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=environment)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                client = Client(self.socket)
                if client.ok("devices")["backends"][0]["state"] == "running":
                    return client
            except (OSError, EOFError):
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError("the agent does not come up:\n" + self.words())

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(30)

    def say(self, what):
        with open(self.control + ".new", "w") as f:
            json.dump(what, f)
        os.rename(self.control + ".new", self.control)

    def words(self):
        with open(self.log_path) as f:
            return f.read()

    def end(self):
        """Stops what is left, then the agent; returns its exit status."""
        if self.process.poll() is None:
            client = Client(self.socket)
            for lease in client.ok("list")["leases"]:
                if lease["state"] != "ended":
                    client.ok("stop", lease=lease["lease"], notice_ms=0, reason="the test is over")
                    client.event("ended", lease=lease["lease"])
        status = self.kill(signal.SIGTERM) if self.process.poll() is None else self.process.returncode
        shutil.rmtree(self.folder)
        return status


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, more=""):
        self.count += 1
        self.failed += not good
        print("%sok %d - %s" % ("" if good else "not ", self.count, name))
        if not good and more != "":
            for line in str(more).splitlines():
                print("# " + line)
        sys.stdout.flush()
        return good

    def same(self, got, wanted, name):
        return self.ok(got == wanted, name, "got %r, wanted %r" % (got, wanted))

    def skip(self, name, why):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, name, why))

    def done(self):
        print("1..%d" % self.count)
        return 1 if self.failed else 0


def processes_with(text):
    """Pids, not zombies, whose command line has the text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(pid) != os.getpid():
            found.append(int(pid))
    return found


def children_of(pid, state=None):
    found = []
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % other) as f:
                rest = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(rest[1]) == pid and (state is None or rest[0] == state):
            found.append(int(other))
    return found


def encode(data):
    return base64.b64encode(data).decode()
