# SPDX-License-Identifier: Apache-2.0
"""An engine that is killed while requests are on their way to it: who has not got a byte yet gets a whole answer from the
next one; who has gets an error event; nobody gets anything twice."""
import http.client
import json
import os
import signal
import threading
import time

from sluice_site import HERE, Site

# The engine that misbehaves on demand, as a program that sluice starts.
PROGRAM = """
import os, sys, time
sys.path.insert(0, sys.argv[2])
from fake_engine import Engine
if os.path.exists(sys.argv[3]):
    sys.exit("cannot start")
Engine(unix=sys.argv[1])
time.sleep(3600)
"""
ENGINE_FILE = """
return { unix_socket = true, command = function(model, replica, listen)
  return { "/usr/bin/python3", model.options.program, listen.unix, model.options.path, model.options.broken }
end }
"""
CONFIG = '''
workers(2)
plugin "backend/sim" {{ devices = {{ {{ count = 2, kind = "h100-80g", memory = "80G" }} }} }}
model "own" {{ engine = "own", gpus = 1, concurrency = 64, replicas = {{ min = {replicas}, max = 2 }}, wait = "{wait}",
  options = {{ program = "{program}", path = "{path}", broken = "{broken}" }} }}
'''


def lossy(replicas=1, wait="30s"):
    s = Site("", agent=True)
    os.mkdir(os.path.join(s.folder, "engines"))
    s.write("engines/own.lua", ENGINE_FILE)
    s.write("fake_engine.py", open(os.path.join(HERE, "fake_engine.py")).read())
    s.broken = os.path.join(s.folder, "broken")
    s.configure(CONFIG.format(program=s.write("engine.py", PROGRAM), path=s.folder, broken=s.broken, replicas=replicas, wait=wait))
    s.start()
    wait_for(lambda: len(ready(s)) == replicas, "replicas")
    return s


def ready(s):
    return [r for r in s.admin("GET", "/v1/replicas?all=1")[1] if r["state"] == "ready" and not r["why"]]


def wait_for(what, name, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for {name}")


def kill_engine(s, address):
    """By the address that it was given: nothing else on this machine has it among its arguments."""
    path = address.removeprefix("unix:").encode()
    killed = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if path in words and any(w.endswith(b"engine.py") for w in words):
            os.kill(int(pid), signal.SIGKILL)
            killed += 1
    assert killed, address


class Client(threading.Thread):
    """One request, the answer as it came."""

    def __init__(self, site, key, words, stream=False):
        super().__init__(daemon=True)
        self.site, self.key, self.words, self.stream = site, key, words, stream
        self.status = self.data = self.headers = None
        self.start()

    def run(self):
        c = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=60)
        body = json.dumps({"model": "own", "stream": self.stream, "messages": [{"role": "user", "content": self.words}]})
        c.request("POST", "/v1/chat/completions", body, {"content-type": "application/json", "authorization": "Bearer " + self.key})
        r = c.getresponse()
        self.headers = {k.lower(): v for k, v in r.getheaders()}
        self.status = r.status
        self.data = r.read().decode()
        c.close()

    def text(self):
        return json.loads(self.data)["choices"][0]["message"]["content"]


def running(s):
    return s.admin("GET", "/v1/models")[1][0]["running"]


def test_who_has_no_byte_yet_gets_an_answer():
    with lossy() as s:
        key, address = s.key(), ready(s)[0]["address"]
        plain = [Client(s, key, "n=5 gap=0.4") for _ in range(20)]
        streams = [Client(s, key, "n=50 gap=0.2", stream=True) for _ in range(5)]
        wait_for(lambda: running(s) == 25 and all(c.status for c in streams), "requests under way")
        kill_engine(s, address)
        late = [Client(s, key, "n=3") for _ in range(20)]  # in the moment after
        for c in plain + streams + late:
            c.join(60)
        assert [c.status for c in plain + late] == [200] * 40, [(c.status, c.data) for c in plain + late if c.status != 200]
        assert {c.text() for c in plain} == {"t0 t1 t2 t3 t4"} and {c.text() for c in late} == {"t0 t1 t2"}
        for c in streams:
            assert c.status == 200 and '"error"' in c.data and "[DONE]" not in c.data, c.data[-300:]
            assert c.data.count('"t0 "') == 1, "nothing is sent again"
        rows = [r for r in s.usage_rows() if r["model"] == "own"]
        assert len(rows) == 45
        assert sum(r["status"] == 200 and r["output_tokens"] == 5 for r in rows) >= 20
        status, _, data = s.http("GET", "/readyz")
        assert status == 200, data


def test_another_replica_takes_over():
    with lossy(replicas=2) as s:
        key, both = s.key(), [r["address"] for r in ready(s)]
        plain = [Client(s, key, "n=5 gap=0.4") for _ in range(20)]
        wait_for(lambda: running(s) == 20, "requests under way")
        kill_engine(s, both[0])
        for c in plain:
            c.join(60)
        assert [c.status for c in plain] == [200] * 20, [(c.status, c.data) for c in plain if c.status != 200]
        assert {c.text() for c in plain} == {"t0 t1 t2 t3 t4"}


def test_refused_with_a_time_when_it_does_not_come_back():
    with lossy() as s:
        key, address = s.key(), ready(s)[0]["address"]
        plain = [Client(s, key, "n=5 gap=0.4") for _ in range(5)]
        wait_for(lambda: running(s) == 5, "requests under way")
        s.write("broken", "")
        kill_engine(s, address)
        for c in plain:
            c.join(60)
            assert c.status == 503 and int(c.headers["retry-after"]) > 0, (c.status, c.headers, c.data)
            assert json.loads(c.data)["error"]["code"] == "model_unavailable"
        os.unlink(s.broken)
        wait_for(lambda: Client(s, key, "n=3").join() or s.chat(key, model="own")[0] == 200, "its coming back")


def test_waits_no_longer_than_it_may():
    with lossy(wait="1s") as s:
        key, address = s.key(), ready(s)[0]["address"]
        plain = [Client(s, key, "n=5 gap=0.4") for _ in range(3)]
        wait_for(lambda: running(s) == 3, "requests under way")
        s.write("engine.py", PROGRAM.replace("Engine(unix", "time.sleep(600); Engine(unix"))
        kill_engine(s, address)
        for c in plain:
            c.join(60)
            assert c.status == 503 and int(c.headers["retry-after"]) > 0, (c.status, c.headers, c.data)


def test_a_request_that_kills_every_engine_is_not_sent_for_ever():
    with lossy() as s:
        status, _, data = s.http("POST", "/v1/chat/completions", {"model": "own", "messages": [{"role": "user", "content": "fault=reset"}]},
                                 {"authorization": "Bearer " + s.key()}, 60)
        assert status == 502 and json.loads(data)["error"]["code"] == "upstream_unreachable"
        assert [r["tries"] for r in s.usage_rows()] == [3]
