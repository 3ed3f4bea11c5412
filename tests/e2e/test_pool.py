# SPDX-License-Identifier: Apache-2.0
"""Jobs on simulated devices: run, wait, signals, time limits, restarts; and models that sluice starts by itself."""
import datetime
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import openai
import pytest
from conftest import TOP
from sluice_site import ROOT, Site

POOL = '''
workers(1)
plugin "backend/sim" { devices = { { count = 2, vendor = "nvidia", model = "Sim H100", kind = "h100-80g", memory = "80G", island = "a" } } }
queue "default" { }
tenant "default" { queues = { "default" }, operators = true }
'''

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the agent starts jobs as their callers: needs root")


@pytest.fixture(scope="module")
def pool():
    with Site(POOL, agent=True) as s:
        s.start()
        wait_for(lambda: len(s.admin("GET", "/v1/gpu/devices")[1]) == 2, "devices")
        yield s


def wait_for(what, name, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {name}")


def states(s):
    return [d["state"] for d in s.admin("GET", "/v1/gpu/devices")[1]]


def test_run(pool):
    p = pool.ctl("run", "-G", "1", "--", "sh", "-c", "echo out; echo err >&2; echo $CUDA_VISIBLE_DEVICES; exit 3", check=False)
    assert p.returncode == 3 and p.stdout.startswith("out\n") and "err\n" in p.stderr
    assert p.stdout.split("\n")[1] in ("0", "1")
    assert "exit 3" in p.stderr.strip().split("\n")[-1]
    wait_for(lambda: states(pool) == ["free", "free"], "free devices")


@pytest.mark.parametrize("command,code", [(["true"], 0), (["sh", "-c", "kill -9 $$"], 137), (["/nope"], 127), (["/etc/passwd"], 126)])
def test_exit_codes(pool, command, code):
    assert pool.ctl("run", "-G", "1", "--", *command, check=False).returncode == code


def test_a_program_that_cannot_be_run_says_why(pool):
    p = pool.ctl("run", "-G", "1", "--", "/nonexistent", check=False)
    assert p.returncode == 127 and "exit 127: cannot run /nonexistent: No such file or directory. 1 GPU." in p.stderr


def test_input_over_kill_9(pool):
    """What is sent while sluiced is killed again and again arrives once and in order."""
    import hashlib
    import random
    data = random.Random(3).randbytes(3000000)
    run = subprocess.Popen([os.path.join(ROOT, "bin", "sluicectl"), "--socket", pool.control, "run", "--", "sh", "-c",
                            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 250000; sleep 0.15; done | sha256sum"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    feeder = threading.Thread(target=lambda: (run.stdin.write(data), run.stdin.close()))
    feeder.start()
    time.sleep(0.4)
    for _ in range(4):
        pool.kill()
        pool.start()
        time.sleep(0.2)
    out, err = run.stdout.read(), run.stderr.read()
    feeder.join()
    assert run.wait() == 0, err
    assert out.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_stdin_and_binary(pool):
    p = subprocess.run([os.path.join(ROOT, "bin", "sluicectl"), "--socket", pool.control, "run", "--", "cat"],
                       input=bytes(range(256)) * 500, capture_output=True, timeout=60)
    assert p.returncode == 0 and p.stdout == bytes(range(256)) * 500


def test_what_can_never_fit(pool):
    p = pool.ctl("run", "-G", "8", "--", "true", check=False)
    assert p.returncode != 0 and "2" in p.stderr


def test_waits_for_its_turn(pool):
    first = pool.ctl("run", "--detach", "-G", "2", "--", "sleep", "1.5").stdout.strip()
    second = pool.ctl("run", "--detach", "-G", "1", "--", "true").stdout.strip()
    lease = pool.admin("GET", f"/v1/gpu/leases/{second}")[1]
    assert lease["state"] == "queued" and lease["reason"]
    wait_for(lambda: pool.admin("GET", f"/v1/gpu/leases/{second}")[1]["state"] == "ended", "the second one", 20)
    assert pool.admin("GET", f"/v1/gpu/leases/{first}")[1]["exit_code"] == 0


def test_time_limit(pool):
    p = pool.ctl("run", "-t", "1s", "--", "sleep", "60", check=False)
    assert p.returncode == 124


def test_release_ends_the_whole_tree(pool):
    script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; sleep 1000' & sleep 1000"
    lease = pool.ctl("run", "--detach", "--", "sh", "-c", script).stdout.strip()
    pid = []

    def started():
        out = pool.ctl("logs", lease).stdout.split()
        pid[:] = out
        return bool(out)

    wait_for(started, "the child's number")
    pool.ctl("release", lease)
    wait_for(lambda: states(pool) == ["free", "free"], "free devices", 45)
    assert not os.path.exists(f"/proc/{pid[0]}"), "nothing of it is left when its devices are free"


def test_signal(pool):
    p = subprocess.Popen([os.path.join(ROOT, "bin", "sluicectl"), "--socket", pool.control, "run", "--", "sh", "-c",
                          "trap 'echo got it; exit 7' INT; echo ready; while :; do sleep 0.1; done"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\n"
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=20)
    assert out == b"got it\n" and p.returncode == 7


def test_jobs_outlive_sluiced(pool):
    p = subprocess.Popen([os.path.join(ROOT, "bin", "sluicectl"), "--socket", pool.control, "run", "--", "sh", "-c",
                          "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.4; done; exit 5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline() == b"1\n"
    pool.kill()
    time.sleep(0.5)
    pool.start()
    out, err = p.communicate(timeout=40)
    assert out.split() == [b"2", b"3", b"4", b"5", b"6", b"7", b"8"] and p.returncode == 5, err
    wait_for(lambda: states(pool) == ["free", "free"], "free devices")


def agent_pid(s):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sluice-agent") and b"--config" in words and any(s.folder.encode() in w for w in words):
            return int(pid)


def test_jobs_outlive_the_agent(pool):
    lease = pool.ctl("run", "--detach", "--", "sh", "-c", "sleep 2; echo still here; exit 4").stdout.strip()
    wait_for(lambda: pool.admin("GET", f"/v1/gpu/leases/{lease}")[1]["state"] == "running", "running")
    os.kill(agent_pid(pool), signal.SIGKILL)
    config = os.path.join(pool.folder, "state-agent", "agent.json")
    log = open(pool.log_path, "ab")
    subprocess.Popen([os.path.join(ROOT, "sbin", "sluice-agent"), "--config", config, "--socket", f"{pool.folder}/run/agent.sock",
                      "--state", f"{pool.folder}/state-agent", "--allow-uid", str(os.stat(f"{pool.folder}/state").st_uid)], stdout=log, stderr=log, start_new_session=True)
    wait_for(lambda: pool.admin("GET", f"/v1/gpu/leases/{lease}")[1]["state"] == "ended", "the end", 20)
    ended = pool.admin("GET", f"/v1/gpu/leases/{lease}")[1]
    assert ended["exit_code"] == 4 and "still here" in pool.ctl("logs", lease).stdout


def test_ended_leases_after_a_restart(pool):
    """Their logs, and when they ended, are what they were."""
    lease = pool.ctl("run", "--detach", "--", "sh", "-c", "sleep 1; echo to be kept").stdout.strip()
    wait_for(lambda: pool.admin("GET", f"/v1/gpu/leases/{lease}")[1]["state"] == "running", "the job")
    pool.stop()
    wait_for(lambda: pool.agent_leases()[lease]["state"] == "ended", "its end at the agent")
    told = pool.agent_leases()[lease]["ended_ms"]
    time.sleep(1)
    pool.start()
    wait_for(lambda: pool.admin("GET", f"/v1/gpu/leases/{lease}")[1]["state"] == "ended", "its end")
    ended = pool.admin("GET", f"/v1/gpu/leases/{lease}")[1]
    at = datetime.datetime.fromisoformat(ended["ended_at"].replace("Z", "+00:00")).timestamp()
    assert abs(at - told / 1000) < 0.01, (ended, told)
    begun = datetime.datetime.fromisoformat(ended["started_at"].replace("Z", "+00:00")).timestamp()
    assert abs(ended["run_s"] - (at - begun)) < 0.1, "the bill speaks of the same time"
    assert pool.ctl("logs", lease).stdout == "to be kept\n"
    pool.kill()
    pool.start()
    for words in (["logs"], ["logs", "-f"]):
        assert pool.ctl(*words, lease).stdout == "to be kept\n"


def test_one_name_of_two_leases(pool):
    first, second = (pool.ctl("run", "--detach", "-J", "dup", "-G", "1", "--", "sleep", "100").stdout.strip() for _ in range(2))
    try:
        for words in (["release"], ["logs"], ["leases", "show"]):
            p = pool.ctl(*words, "dup", check=False)
            assert p.returncode == 1 and f"dup is {first} and {second}: name one of them by its number" in p.stderr
    finally:
        pool.ctl("release", first, second)


def test_drained_takes_no_new_lease(pool):
    running = pool.ctl("run", "--detach", "-G", "1", "--", "sleep", "100").stdout.strip()
    wait_for(lambda: pool.admin("GET", f"/v1/gpu/leases/{running}")[1]["state"] == "running", "the job")
    pool.ctl("drain", "--yes")
    try:
        p = pool.ctl("run", "-G", "1", "--", "true", check=False)
        assert p.returncode == 125 and "draining" in p.stderr and "sluicectl undrain" in p.stderr
        status, answer = pool.admin("POST", "/v1/gpu/leases", {"argv": ["true"]})
        assert (status, answer["error"]["code"]) == (503, "not_ready")
        assert pool.admin("GET", f"/v1/gpu/leases/{running}")[1]["state"] == "running", "what runs goes on"
        pool.ctl("release", running)
    finally:
        pool.ctl("undrain")
    assert pool.ctl("run", "-G", "1", "--", "true").returncode == 0


def test_lists(pool):
    for noun in ("devices", "leases", "models", "replicas", "tenants", "keys", "usage", "status"):
        assert pool.ctl(noun).stdout is not None
        json.loads(pool.ctl(noun, "--json").stdout)


ENGINE = '''
workers(2)
plugin "backend/sim" {{ devices = {{ {{ count = 2, vendor = "nvidia", model = "Sim H100", kind = "h100-80g", memory = "80G" }} }} }}
queue "models" {{ }}
model "tiny" {{ engine = "llamacpp", weights = "{gguf}", gpus = 1, queue = "models", replicas = {{ min = 0, max = 2 }},
  idle = "3s", wait = "30s", start = "30s", concurrency = 4, max_output = 64,
  options = {{ binary = {{ "{python}", "{server}" }}, unix_socket = false }},
  price = {{ input = "1", output = "2" }} }}
'''


@pytest.fixture(scope="module")
def fleet(tiny):
    server = shutil.copy(os.path.join(TOP, "examples", "quickstart", "llama_server.py"), os.path.dirname(tiny))
    os.chmod(server, 0o755)
    config = ENGINE.format(gguf=tiny, python=sys.executable, server=server)
    with Site(config, agent=True) as s:
        s.start()
        s.secret = s.key()
        yield s


def chat(s, **fields):
    c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key=s.secret, max_retries=0, timeout=60)
    return c.chat.completions.create(model="tiny", max_tokens=8, messages=[{"role": "user", "content": "hello"}], **fields)


def test_first_request_starts_a_replica_and_idleness_ends_it(fleet):
    assert fleet.admin("GET", "/v1/replicas")[1] == []
    answer = chat(fleet)
    assert answer.usage.completion_tokens == 8
    replica, = fleet.admin("GET", "/v1/replicas")[1]
    assert replica["state"] == "ready" and replica["lease"]
    usage = None
    for chunk in chat(fleet, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
    assert usage.completion_tokens == 8
    rows = fleet.usage_rows()
    assert rows[0]["output_tokens"] == 8 and rows[0]["replica"] == replica["replica"]
    wait_for(lambda: fleet.admin("GET", "/v1/replicas")[1] == [], "the idle one to be stopped", 40)
    wait_for(lambda: all(d["state"] == "free" for d in fleet.admin("GET", "/v1/gpu/devices")[1]), "free devices", 20)


def test_all_answers_to_one_request_are_billed(fleet):
    """The server counts one of them alone."""
    answer = chat(fleet, n=4)
    assert len(answer.choices) == 4
    row = fleet.usage_rows()[0]
    assert row["output_tokens"] == 32 and "estimated" in json.dumps(row)


def test_engine_killed_is_replaced(fleet):
    chat(fleet)
    lease = fleet.admin("GET", "/v1/replicas")[1][0]["lease"]
    answers = []

    def send():
        try:
            answers.append(chat(fleet).usage.completion_tokens)
        except openai.APIError as e:
            answers.append(str(e))
    # Each again and again, so that some are under way at any moment: one alone is over before anybody has looked.
    clients = [threading.Thread(target=lambda: [send() for _ in range(5)]) for _ in range(20)]
    for c in clients:
        c.start()
    time.sleep(0.1)
    os.kill(fleet.agent_leases()[lease]["pid"], signal.SIGKILL)
    send()  # and one that comes when it is dead
    for c in clients:
        c.join()
    assert answers == [8] * 101, "who had no byte yet gets the whole answer from the next one"


def test_engines_outlive_sluiced(fleet):
    chat(fleet)
    before = {r["lease"] for r in fleet.admin("GET", "/v1/replicas")[1]}
    fleet.kill()
    begin = time.monotonic()
    fleet.start()
    assert chat(fleet).usage.completion_tokens == 8
    after = {r["lease"] for r in fleet.admin("GET", "/v1/replicas")[1]}
    assert after and after <= before, "the same engines go on"
    assert time.monotonic() - begin < 10


def test_replicas_start_while_drained(fleet):
    wait_for(lambda: fleet.admin("GET", "/v1/replicas")[1] == [], "the idle one to be stopped", 40)
    fleet.ctl("drain", "--yes")
    try:
        fleet.ctl("models", "start", "tiny")
        wait_for(lambda: [r["state"] for r in fleet.admin("GET", "/v1/replicas")[1]] == ["ready"], "a replica", 30)
    finally:
        fleet.ctl("undrain")


def test_engine_that_cannot_start():
    with Site(POOL + '''model "broken" { engine = "llamacpp", weights = "/nope.gguf", gpus = 1, replicas = { min = 0, max = 1 },
              options = { binary = { "sh", "-c", "echo no such file as that >&2; exit 1", "x" }, unix_socket = false }, wait = "20s" }''', agent=True) as s:
        s.start()
        key = s.key()
        status, headers, data = s.chat(key, "broken", max_tokens=2)
        assert status == 503 and json.loads(data)["error"]["code"] == "model_unavailable", data
        wait_for(lambda: "no such file as that" in str(s.admin("GET", "/v1/models")[1][0]["why"]), "its last lines, for operators")
        refused = s.chat(key, "broken", max_tokens=2)  # at once, if its back-off still lasts
        for status, headers, data in ((status, headers, data), refused):
            assert status == 503 and int(headers["retry-after"]) >= 1
            message = json.loads(data)["error"]["message"]
            assert "model 'broken' has failed: its replica does not run. Next try in " in message
            assert "no such file" not in message and "exit" not in message, "what an engine wrote may be another caller's"
        assert "no such file as that" in s.ctl("replicas", "--json").stdout


HIDDEN = """
import ctypes, os, time
if os.fork():
    time.sleep(1000)
os.setsid()
if os.fork():
    os._exit(0)
ctypes.CDLL(None).prctl(15, b"Other::Name", 0, 0, 0)
print(os.getpid(), flush=True)
os.environ.clear()
time.sleep(1000)
"""


@pytest.mark.parametrize("agent_dies", [False, True])
def test_sites_leave_nothing_behind(agent_dies):
    """Of this harness: a grandchild with another name, in a session of its own, ends with its site."""
    with Site(POOL, agent=True) as s:
        s.start()
        lease = s.ctl("run", "-G", "1", "--detach", "--env", "SLUICE_X=1", "--", "env", "-i", "/usr/bin/python3", "-c", HIDDEN).stdout.strip()
        wait_for(lambda: s.ctl("logs", lease, check=False).stdout.strip().isdigit(), "the grandchild")
        pid = int(s.ctl("logs", lease).stdout)
        if agent_dies:
            with socket.socket(socket.AF_UNIX) as c:
                c.connect(s.agent_socket())
                os.kill(struct.unpack("3i", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0], signal.SIGKILL)
    assert not os.path.exists(f"/proc/{pid}")
