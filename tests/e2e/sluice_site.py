# SPDX-License-Identifier: Apache-2.0
"""A sluice site for tests: an installed tree, a configuration, running daemons, and words with them."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "examples", "quickstart"))
import stop as quickstart_stop  # noqa: E402

ROOT = os.environ.get("SLUICE_ROOT", os.path.join(TOP, "build", "root"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Site:
    """One sluiced with its agent and state, all below one folder that is gone afterwards."""

    def __init__(self, config, policy=None, agent=False, env=None, keep=False, config_name="sluice.lua"):
        self.folder = tempfile.mkdtemp(prefix="sluice-test-")
        os.chmod(self.folder, 0o755)
        self.port = free_port()
        self.control = os.path.join(self.folder, "run", "control.sock")
        self.log_path = os.path.join(self.folder, "sluiced.log")
        self.config_path = os.path.join(self.folder, config_name)
        self.env = dict(os.environ, **(env or {}))
        self.keep = keep
        self.agent = agent
        self.process = None
        if policy is not None:
            self.write("policy.lua", policy)
        self.configure(config)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def configure(self, config):
        head = f'''
listen "127.0.0.1:{self.port}"
control "{self.control}"
state "{self.folder}/state"
agent {{ socket = "{self.folder}/run/agent.sock", start = {"true" if self.agent else "false"} }}
'''
        if os.path.exists(os.path.join(self.folder, "policy.lua")) and "policy" not in config:
            head += f'policy "{self.folder}/policy.lua"\n'
        with open(self.config_path, "w") as f:
            f.write(head + config)
        os.chmod(self.config_path, 0o644)

    def start(self, wait=True, prefix=()):
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen([*prefix, os.path.join(ROOT, "sbin", "sluiced"), "-c", self.config_path],
                                        stderr=self.log, stdout=self.log, env=self.env)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"sluiced ended with {self.process.returncode}:\n{self.log_text()[-4000:]}")
            try:
                if self.http("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError("sluiced is not ready:\n" + self.log_text()[-4000:])

    def log_text(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def http(self, method, path, body=None, headers=None, timeout=30):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            h = dict(headers or {})
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
                h.setdefault("content-type", "application/json")
            c.request(method, path, body, h)
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        finally:
            c.close()

    def chat(self, key, model="m", timeout=30, **fields):
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
        status, headers, data = self.http("POST", "/v1/chat/completions", body, {"authorization": "Bearer " + key}, timeout)
        return status, headers, data

    def admin(self, method, path, body=None, timeout=10):
        c = Unix(self.control, timeout)
        try:
            c.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json"})
            r = c.getresponse()
            data = r.read()
            return r.status, json.loads(data) if data[:1] in b"[{" else data.decode()
        finally:
            c.close()

    def ctl(self, *args, check=True, timeout=60, input=None):
        p = subprocess.run([os.path.join(ROOT, "bin", "sluicectl"), "--socket", self.control, *args], capture_output=True,
                           text=True, timeout=timeout, input=input, env=self.env)
        if check and p.returncode:
            raise RuntimeError(f"sluicectl {' '.join(args)}: {p.returncode}\n{p.stdout}{p.stderr}\n{self.log_text()[-2000:]}")
        return p

    def key(self, tenant="default", **fields):
        status, answer = self.admin("POST", "/v1/keys", {"tenant": tenant, "name": "test", **fields})
        assert status == 201, answer
        return answer["secret"]

    def usage_rows(self, limit=10000):
        status, rows = self.admin("GET", f"/v1/usage/requests?limit={limit}", timeout=60)
        assert status == 200, rows
        return rows

    def metric(self, name, **labels):
        status, text = self.admin("GET", "/metrics")
        assert status == 200
        total = 0.0
        for line in text.splitlines():
            if line.startswith(name) and line[len(name):len(name) + 1] in " {" and \
                    all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=60):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode if self.process else None

    def agent_socket(self):
        return os.path.join(self.folder, "run", "agent.sock")

    def agent_hello(self):
        return quickstart_stop.Agent(self.agent_socket()).call("hello", version=1)

    def agent_leases(self):
        """What the agent says of its leases, by name."""
        agent = quickstart_stop.Agent(self.agent_socket())
        return {lease["lease"]: lease for lease in agent.call("list")["leases"]}

    def revive_agent(self):
        """An agent that a test has killed takes its leases over again: it alone can end all that they have become."""
        state = next((f for f in (self.folder + "/state-agent", self.folder + "/state/agent") if os.path.exists(f + "/agent.json")), None)
        with socket.socket(socket.AF_UNIX) as s:
            if state is None or s.connect_ex(self.agent_socket()) == 0:
                return
        user = str(os.stat(self.folder + "/state").st_uid)
        subprocess.Popen([os.path.join(ROOT, "sbin", "sluice-agent"), "--config", state + "/agent.json", "--socket", self.agent_socket(),
                          "--state", state, "--allow-uid", user], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX) as s:
                if s.connect_ex(self.agent_socket()) == 0:
                    return
            time.sleep(0.05)

    def stop_agent(self):
        """Ends all that runs on leases, whatever it calls itself, then the agent."""
        self.revive_agent()
        quickstart_stop.stop_agent(self.folder)
        for pid in filter(str.isdigit, os.listdir("/proc")):  # agents that hang, and their children
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
                if any(self.folder.encode() in w for w in words) and int(pid) != os.getpid():
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                continue

    def close(self):
        self.stop()
        if self.agent:
            self.stop_agent()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
