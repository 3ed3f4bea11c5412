# SPDX-License-Identifier: Apache-2.0
"""A new configuration or policy is in place everywhere at once, under load, and a broken one changes nothing."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import model
from sluice_site import ROOT, Site

DENY = 'function admit(req) if req.model == "m" and req.tenant.name == "closed" then return deny(403, "closed", "not today") end end\n'


def load(site, key, seconds, results):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        results.append(site.chat(key, max_tokens=3)[0])


def test_reload_under_load(engine):
    config = 'workers(2)\ntenant "closed" {}\n' + model(engine)
    with Site(config, policy="-- nothing yet\n") as s:
        s.start()
        key, closed = s.key(), s.key("closed")
        results = []
        threads = [threading.Thread(target=load, args=(s, key, 4, results)) for _ in range(8)]
        for t in threads:
            t.start()
        assert s.chat(closed, max_tokens=2)[0] == 200
        for i in range(20):
            s.write("policy.lua", DENY if i % 2 == 0 else "-- nothing\n")
            status, answer = s.admin("POST", "/v1/reload", {})
            assert status == 200, answer
            want = 403 if i % 2 == 0 else 200
            # Each connection may be with another worker: all of them have it.
            assert [s.chat(closed, max_tokens=2)[0] for _ in range(6)] == [want] * 6
        for t in threads:
            t.join()
        assert len(results) > 50 and set(results) == {200}, "no request failed"


def test_broken_ones_change_nothing(engine):
    with Site("workers(2)\n" + model(engine), policy=DENY) as s:
        s.start()
        key = s.key()
        before = s.admin("GET", "/v1/status")[1]["config"]
        good = open(s.config_path).read()
        for text, words in (
            ('model "m" { engine = "openai", gpu = 1 }', "did you mean 'gpus'"),
            ("model \"m\" {", ""),
            ('listten "127.0.0.1:1"', "listen"),
            ('tenant "x" { tier = "nope" }', "nope"),
        ):
            with open(s.config_path, "w") as f:
                f.write(good + text + "\n")
            status, answer = s.admin("POST", "/v1/reload", {})
            assert status == 422 and words in json.dumps(answer), answer
            assert "sluice.lua:" in json.dumps(answer)
        with open(s.config_path, "w") as f:
            f.write(good)
        for text in ("function admit(", "function admit() end\nfunction test_x() expect(1).denied(1) end", "error('no')"):
            s.write("policy.lua", text)
            assert s.admin("POST", "/v1/reload", {})[0] == 422
            s.process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
        assert s.admin("GET", "/v1/status")[1]["config"] == before
        assert s.chat(key, max_tokens=2)[0] == 200
        s.write("policy.lua", DENY)
        assert s.admin("POST", "/v1/reload", {})[0] == 200


def test_check(engine):
    with Site("workers(2)\n" + model(engine)) as s:
        run = lambda: subprocess.run([os.path.join(ROOT, "sbin", "sluiced"), "--check", "-c", s.config_path], capture_output=True, text=True)
        p = run()
        assert p.returncode == 0, p.stderr
        with open(s.config_path, "a") as f:
            f.write('plugin "scheduler/nope" {}\nqueue "x" { quotta = 1 }\n')
        p = run()
        assert p.returncode == 78 and "quotta" in p.stderr


@pytest.mark.parametrize("line,words", [
    ('plugin "backend/sim" { devices = 5 }', "devices: expected a list of tables"),
    ('plugin "backend/sim" { devices = { {}, { count = "2" } } }', "devices[2].count: expected a whole number"),
    ('plugin "backend/sim" { devices = { { memory = "lots" } } }', "devices[1].memory: expected a size"),
    ('plugin "backend/sim" { devices = { { modle = "H100" } } }', "devices[1].modle: expected one of count, vendor, model"),
    ('model "x" { engine = "llamacpp" }', "field 'weights' is missing in model \"x\""),
])
def test_check_looks_inside(line, words):
    with Site("workers(1)\n" + line + "\n") as s:
        p = subprocess.run([os.path.join(ROOT, "sbin", "sluiced"), "--check", "-c", s.config_path], capture_output=True, text=True)
        assert p.returncode == 78 and words in p.stderr, p.stderr
        with open(s.config_path) as f:
            number = f.read().split("\n").index(line) + 1
        assert f"sluice.lua:{number}: " in p.stderr


def test_policy_that_fails_is_closed(engine):
    with Site("workers(1)\n" + model(engine), policy='function admit(req) if req.model == "m" then while true do end end end\n') as s:
        s.start()
        key = s.key()
        status, _, data = s.chat(key, max_tokens=2)
        assert status == 500 and json.loads(data)["error"]["code"] == "policy_error"
        assert s.metric("sluice_policy_errors_total") >= 1
        assert "policy.lua:1" in s.log_text()


def test_drain_on_term(engine):
    with Site('workers(1)\ndrain "5s"\n' + model(engine)) as s:
        s.start()
        key = s.key()
        got = []
        t = threading.Thread(target=lambda: got.append(s.chat(key, stream=True, max_tokens=50, messages=[
            {"role": "user", "content": "n=20 gap=0.05"}])))
        t.start()
        time.sleep(0.3)
        s.process.send_signal(signal.SIGTERM)
        t.join()
        assert got[0][0] == 200 and got[0][2].endswith(b"data: [DONE]\n\n"), "it may finish"
        assert s.process.wait(10) == 0
        s.start()
        got.clear()
        t = threading.Thread(target=lambda: got.append(s.chat(key, stream=True, max_tokens=500, messages=[
            {"role": "user", "content": "n=500 gap=0.05"}])))
        t.start()
        time.sleep(0.3)
        s.process.send_signal(signal.SIGTERM)
        t.join()
        assert b"shutting_down" in got[0][2], "a late one gets words"
        assert s.process.wait(10) == 0


@pytest.mark.parametrize("call", ["drain", "undrain"])
def test_drain_call_while_it_ends(call):
    with Site("workers(1)\n") as s:
        s.start()
        with socket.socket(socket.AF_UNIX) as c:
            c.settimeout(10)
            c.connect(s.control)
            c.sendall(f"POST /v1/{call} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{".encode())
            s.admin("GET", "/v1/status")  # its head was read before this answer
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            c.sendall(b"}")
            assert b"HTTP/1.1 200" in c.recv(4096)
        assert s.process.wait(10) == 0


def test_backends_are_the_agents(engine):
    sim = 'plugin "backend/sim" {{ devices = {{ {{ count = {0}, kind = "h100-80g" }} }} }}\n'
    with Site("workers(1)\n" + sim.format(1), agent=True) as s:
        s.start()
        said = s.ctl("reload").stderr
        assert "warning" not in said and "runs now" in said, said
        agent = s.agent_hello()["pid"]
        for _ in range(2):  # as long as it is so
            s.configure("workers(1)\n" + sim.format(2))
            said = s.ctl("reload").stderr
            assert f"warning: the agent (process {agent}) still runs other backends" in said and "restart" in said, said
            assert "runs now, as far as no warning says otherwise" in said
        assert len(s.admin("GET", "/v1/gpu/devices")[1]) == 1
        s.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while s.log_text().count("still runs other backends") < 1 and time.monotonic() < end:
            time.sleep(0.05)
        assert s.log_text().count("still runs other backends") == 1
        s.stop()
        os.kill(agent, signal.SIGTERM)
        end = time.monotonic() + 10
        while os.path.exists(f"/proc/{agent}") and open(f"/proc/{agent}/stat").read().split()[2] != "Z" and time.monotonic() < end:
            time.sleep(0.05)
        s.start()
        said = s.ctl("reload").stderr
        assert "warning" not in said, said
        end = time.monotonic() + 10
        while len(s.admin("GET", "/v1/gpu/devices")[1]) != 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(s.admin("GET", "/v1/gpu/devices")[1]) == 2
