# SPDX-License-Identifier: Apache-2.0
"""What sluice-agent promises, tried from outside: every promise of the protocol, with the faults against it."""
import base64
import hashlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback

from agent_client import PYTHON, PYTHON_UID, UID, Agent, Client, Tap, children_of, encode, processes_with

tap = Tap()
EINVAL, EDENIED, ENOTFOUND, ECONFLICT, EUNAVAILABLE, EAGAIN, ENOTSUP = -1, -3, -4, -5, -9, -14, -16

# Forks twice, in a session of its own each time, ignores TERM, empties its environment, stops itself.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for stopped in (False, True):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            if len(sys.argv) > 2:
                os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(1000)", sys.argv[1]], {})
            if stopped:
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1000)
        os._exit(0)
time.sleep(0.3)
print("ready", flush=True)
if "stay" in sys.argv[1]:
    time.sleep(1000)
"""


def basics(agent):
    c = Client(agent.socket)
    tap.same(c.hello["version"], 1, "hello")
    tap.same(c.hello["machine"], "testbox", "hello names the machine")
    devices = c.ok("devices")["devices"]
    tap.same([d["index"] for d in devices], [0, 1, 2, 3], "four devices")
    tap.ok(all(d["health"] == "ok" and d["memory_bytes"] == 80 << 30 for d in devices), "devices are well", devices)
    uuids = [d["uuid"] for d in devices]
    ended, out, err = c.run("L1", ["sh", "-c", "echo out; echo err >&2; echo $A $CUDA_VISIBLE_DEVICES; exit 3"],
                            env={"A": "b", "CUDA_VISIBLE_DEVICES": "all"}, devices=[uuids[3], uuids[1]])
    tap.same((ended["exit_code"], ended["signal"], ended["reason"]), (3, 0, ""), "the exit code")
    tap.same((out, err), ("out\nb 3,1\n", "err\n"), "output, and the backend's word on what is visible")
    tap.same(c.code("start", lease="L1", argv=["true"], uid=UID, gid=UID), ECONFLICT, "the same lease again")
    c.ok("forget", lease="L1")
    tap.same(c.code("logs", lease="L1", source="out", **{"from": 0}), ENOTFOUND, "a forgotten lease has no logs")
    c.start("L2", ["sleep", "1000"], devices=uuids[:1])
    tap.same(c.code("start", lease="L3", argv=["true"], uid=UID, gid=UID, devices=uuids[:1]), EUNAVAILABLE,
             "a device is granted once")
    tap.same(c.code("start", lease="L3", argv=["true"], uid=UID, gid=UID, devices=["GPU-x"]), ENOTFOUND, "no such device")
    tap.same(c.code("forget", lease="L2"), ECONFLICT, "a running lease is not forgotten")
    c.ok("signal", lease="L2", signal=signal.SIGINT)
    tap.same(c.event("ended", lease="L2")["signal"], signal.SIGINT, "a signal reaches the program")
    tap.same(c.code("signal", lease="L2", signal=2), ECONFLICT, "and no longer when it has ended")


def failures(agent):
    c = Client(agent.socket)
    ended, _, _ = c.run("F1", ["/nonexistent/program"])
    tap.same(ended["exit_code"], 127, "a missing program: 127")
    tap.ok("/nonexistent/program" in ended["reason"] and "No such file" in ended["reason"], "with words", ended)
    tap.same(c.run("F2", ["/etc/passwd"])[0]["exit_code"], 126, "not executable: 126")
    ended, _, _ = c.run("F3", ["true"], cwd="/nonexistent")
    tap.ok(ended["exit_code"] == 126 and "folder" in ended["reason"], "no such working folder: 126", ended)
    for field, value in (("argv", "true"), ("argv", []), ("env", {"A": 1}), ("env", {"A=B": ""}), ("uid", -1),
                         ("gid", "x"), ("stdin", 1), ("limit_ms", -1), ("devices", [1]), ("lease", "../x"),
                         ("lease", ""), ("lease", "supervisors"), ("cwd", 7)):
        answer = c.call("start", **dict(dict(lease="F4", argv=["true"], uid=UID, gid=UID), **{field: value}))
        tap.ok(answer.get("error", {}).get("code") == EINVAL and field in answer["error"]["text"],
               "start with a wrong %s: %r" % (field, value), answer)
    tap.same(c.code("dance"), EINVAL, "an unknown op")
    tap.same(c.code("hello", version=9), ENOTSUP, "another version")
    tap.same(c.code("signal", lease="none", signal=9), ENOTFOUND, "an unknown lease")
    tap.same(c.code("logs", lease="F1", source="both"), EINVAL, "an unknown source")


def hostile(agent):
    big = struct.pack(">I", (1 << 20) + 1) + b"{" * 100
    for name, data in (("HTTP", b"GET / HTTP/1.1\r\n\r\n"), ("1 MiB and a byte", big), ("an array", b"\0\0\0\2[]"),
                       ("no JSON", b"\0\0\0\4nope"), ("nothing", b"\0\0\0\0"), ("no UTF-8", b"\0\0\0\3{\xff}"),
                       ("4 GiB", b"\xff\xff\xff\xff")):
        c = Client(agent.socket)
        c.socket.sendall(data)
        try:
            c.receive(10)
            tap.ok(False, "%s ends the connection" % name)
        except (EOFError, ConnectionResetError):
            tap.ok(True, "%s ends the connection" % name)
    c = Client(agent.socket)
    c.send({"op": "list"})
    tap.same(c.receive()["error"]["code"], EINVAL, "a request without id is answered")
    half = Client(agent.socket)
    half.socket.sendall(b"\0\0\1\0{")
    half.socket.close()
    many = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for s in many:
        s.connect(agent.socket)
    time.sleep(0.2)
    for s in many:
        s.close()
    time.sleep(0.2)
    tap.ok(Client(agent.socket).ok("list") is not None, "the agent serves on after all of it")


def strangers(agent):
    if os.geteuid() != 0:
        return tap.skip("a stranger is refused", "needs root")
    os.chmod(agent.socket, 0o666)
    script = ("import os, socket, sys\nos.setgid(65533)\nos.setuid(65533)\ns = socket.socket(socket.AF_UNIX)\n"
              "s.connect(sys.argv[1])\ns.settimeout(10)\n"
              "try: print(s.recv(1) == b'')\nexcept ConnectionResetError: print(True)\n")
    out = subprocess.run([sys.executable, "-c", script, agent.socket], capture_output=True, text=True).stdout
    tap.same(out, "True\n", "a stranger is refused")
    tap.ok("uid 65533" in agent.words(), "and named in the log")
    os.chmod(agent.socket, 0o660)


def inheritance(agent):
    c = Client(agent.socket)
    script = ("import os, signal\n"
              "print(sorted(os.listdir('/proc/self/fd'), key=int)[:3], len(os.listdir('/proc/self/fd')) - 1)\n"
              "print([l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn'))])\n"
              "print(os.getsid(0) == os.getpid(), os.getpid() == os.getpgrp())\n"
              "print(open('/proc/self/oom_score_adj').read().strip(), os.getgroups(), os.getuid(), os.getgid())\n"
              "print('SECRET_OF_AGENT' in os.environ, 'WATCHDOG_USEC' in os.environ, os.environ['SLUICE_LEASE'])\n")
    _, out, err = c.run("I1", [PYTHON, "-c", script], uid=PYTHON_UID, gid=PYTHON_UID)
    lines = out.splitlines() + [""] * 5
    tap.same(lines[0], "['0', '1', '2'] 3", "only three descriptors")
    # Python itself ignores SIGPIPE and SIGXFSZ.
    tap.ok("SigBlk:\\t0000000000000000" in lines[1] and "SigIgn:\\t0000000001001000" in lines[1], "signals as new", lines[1])
    tap.same(lines[2], "True True", "a session and a group of its own")
    tap.same(lines[3], "0 [%d] %d %d" % (PYTHON_UID, PYTHON_UID, PYTHON_UID), "no privilege of the agent's")
    tap.same(lines[4], "False False I1", "no variable of the agent's")
    tap.same(err, "", "no complaint")
    _, out, err = c.run("I2", ["sh", "-c", "echo a; echo b > /dev/stdout; echo c >> /dev/stdout"])
    tap.same(err, "", "the program may open its output anew")


def stopping(agent, tag):
    c = Client(agent.socket)
    for how in ("ends", "stay"):
        lease = "T%s%s" % (tag, how)
        mark = "stubborn-%s-%s-%d" % (tag, how, os.getpid())
        c.start(lease, [PYTHON, "-c", STUBBORN, mark], uid=PYTHON_UID, gid=PYTHON_UID)
        c.wait_log(lease, "ready")
        alive = len(processes_with(mark))
        began = time.monotonic()
        if how == "stay":
            c.ok("stop", lease=lease, notice_ms=500, reason="enough")
        ended = c.event("ended", lease=lease)
        tap.ok(alive >= 2, "%s: stubborn descendants were there (%s)" % (tag, how), alive)
        tap.same(processes_with(mark), [], "%s: they are gone before the lease has ended (%s)" % (tag, how))
        if how == "stay":
            tap.ok(time.monotonic() - began >= 0.5, "%s: not before the notice was over" % tag)
            tap.same((ended["signal"], ended["reason"]), (9, "enough"), "%s: killed, with the reason" % tag)
        else:
            tap.same((ended["exit_code"], ended["signal"]), (0, 0), "%s: the program's own end counts" % tag)
    c.start("N" + tag, ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"])
    c.wait_log("N" + tag, "ready")
    c.ok("stop", lease="N" + tag, notice_ms=20000, reason="please")
    ended = c.event("ended", lease="N" + tag)
    tap.same((ended["exit_code"], ended["reason"]), (7, "please"), "%s: who obeys TERM ends in its own way" % tag)
    c.start("Z" + tag, ["sh", "-c", "kill -STOP $$"])
    time.sleep(0.2)
    c.ok("stop", lease="Z" + tag, notice_ms=20000)
    tap.same(c.event("ended", lease="Z" + tag)["signal"], 15, "%s: a stopped program gets its TERM" % tag)
    c.start("X" + tag, ["sleep", "1000"], limit_ms=300, notice_ms=100)
    ended = c.event("ended", lease="X" + tag)
    tap.ok("time limit" in ended["reason"] and ended["signal"] == 15, "%s: the time limit ends it" % tag, ended)


def input_and_follow(agent):
    c = Client(agent.socket)
    c.start("S1", ["cat"], stdin=True)
    c.ok("follow", lease="S1", out=0, err=0)
    c.ok("stdin", lease="S1", data=encode(b"hello\n"))
    event = c.event("log", lease="S1", source="out")
    tap.same((base64.b64decode(event["data"]), event["from"]), (b"hello\n", 0), "input comes back as a log event")
    c.ok("stdin", lease="S1", data=encode(b"bye\n"), eof=True)
    tap.same(c.event("ended", lease="S1")["exit_code"], 0, "the end of the input ends cat")
    tap.same(c.log("S1", "out"), "hello\nbye\n", "nothing of the input is lost")
    tap.same(c.code("stdin", lease="S1", data=""), ECONFLICT, "no input after the end")
    c.run("S2", ["true"])
    tap.same(c.code("stdin", lease="S2", data=""), ECONFLICT, "no input where none was asked for")
    c.start("S3", ["sh", "-c", "read x; sleep 0.5; wc -c; sha256sum </dev/null"], stdin=True)
    c.ok("stdin", lease="S3", data=encode(b"go\n"))
    sent, refused = 0, 0
    for i in range(20):
        while True:
            code = c.code("stdin", lease="S3", data=encode(b"z" * 100000), eof=i == 19)
            if code == 0:
                break
            if code != EAGAIN:
                raise AssertionError(code)
            refused += 1
            time.sleep(0.02)
        sent += 100000
    c.event("ended", lease="S3")
    tap.same(c.log("S3", "out").split()[0], str(sent), "two megabytes through a full pipe, each byte once")
    tap.ok(refused > 0, "a full pipe is said to be full")
    c.start("S5", ["sh", "-c", "sleep 0.5; sha256sum"], stdin=True)
    piece = lambda data, at, writer=7, **more: c.call("stdin", lease="S5", data=encode(data), writer=writer, **{"from": at}, **more)
    tap.same(piece(b"go\n", 0)["ok"], {"taken": 3}, "a writer that counts")
    tap.same(piece(b"go\n", 0)["ok"], {"taken": 3}, "the same again counts once")
    tap.same(piece(b"o\nab", 1)["ok"], {"taken": 5}, "of a piece that was taken in part the rest is taken")
    tap.same(piece(b"x", 9).get("error", {}).get("code"), EINVAL, "what would leave a gap is refused")
    tap.same(piece(b"other\n", 0, 8)["ok"], {"taken": 6}, "another writer counts for itself")
    data, at, parts, refused = random.Random(5).randbytes(1000000), 0, 0, 0
    while at < len(data):
        answer = piece(data[at:at + 100000], 5 + at, eof=at + 100000 >= len(data))
        if answer.get("error", {}).get("code") == EAGAIN:
            refused += 1
            time.sleep(0.01)
            continue
        taken = answer["ok"]["taken"] - 5
        parts += taken - at < min(100000, len(data) - at)
        piece(data[at:at + 10], 5 + at)
        at = taken
    tap.same(piece(data[-1:], 4 + len(data), eof=True)["ok"], {"taken": 5 + len(data)}, "also the end may come again")
    c.event("ended", lease="S5")
    tap.same(c.log("S5", "out").split()[0], hashlib.sha256(b"go\nabother\n" + data).hexdigest(), "each byte once and in order")
    tap.ok(parts > 0 and refused > 0, "a full pipe takes a part, then nothing", (parts, refused))
    c.start("S4", ["sh", "-c", "exec <&-; sleep 1000"], stdin=True)
    time.sleep(0.3)
    tap.same(c.code("stdin", lease="S4", data=encode(b"x")), ECONFLICT, "a program that has closed its input")
    c.ok("stop", lease="S4", notice_ms=0)
    c.event("ended", lease="S4")


def flood(agent):
    c = Client(agent.socket)
    c.ok("start", lease="B1", argv=["sh", "-c", "head -c 200000000 /dev/zero; echo the end"], env={}, uid=UID, gid=UID,
         devices=[], log_bytes=1 << 20)
    worst = 0
    ended = None
    path = agent.state + "/leases/B1/out.log"
    while ended is None:
        try:
            ended = c.event("ended", timeout=0.2, lease="B1")
        except (TimeoutError, socket.timeout):
            worst = max(worst, os.stat(path).st_blocks * 512)
    tap.same(ended["exit_code"], 0, "200 MB of zeros and no newline do not hold the program up")
    size = os.stat(path).st_blocks * 512
    tap.ok(size <= (1 << 20) + (256 << 10), "the log takes no more room than asked for", (size, worst))
    part = c.ok("logs", lease="B1", source="out", max=100, **{"from": -8})
    tap.same((base64.b64decode(part["data"]), part["size"]), (b"the end\n", 200000008), "its end is there, offsets are true")
    part = c.ok("logs", lease="B1", source="out", max=100, **{"from": 0})
    tap.ok(part["from"] >= 200000008 - (1 << 20) - (128 << 10), "what is lost is told", part["from"])
    c.start("B2", ["sh", "-c", "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done; printf '\\377\\000x'"])
    c.ok("follow", lease="B2", out=0, err=0)
    c.event("ended", lease="B2")
    text, at = b"", 0
    for event in [e for e in c.events if e["event"] == "log"] or [c.event("log")]:
        tap.ok(event["from"] == at, "log events join up") if event["from"] != at else None
        text += base64.b64decode(event["data"])
        at = len(text)
    tap.ok(text.endswith(b"line 399\n\xff\x00x") and text.count(b"\n") == 400, "a follower gets all of it, bytes as they are",
           text[-50:])


def ports(agent, tag):
    """Whose a port is, also when a grandchild has it, or one beside another."""
    c = Client(agent.socket)
    listen = "import socket, time; s = socket.create_server(('%s', 0)); print(s.getsockname()[1], flush=True); time.sleep(1000)"
    c.start("TA" + tag, ["sh", "-c", "umask; (python3 -c \"%s\" & wait) & wait" % (listen % "127.0.0.1")], umask=0o27)
    c.start("TB" + tag, ["python3", "-c", listen % ""])
    for lease in ("TA", "TB"):
        c.wait_log(lease + tag, "\n")
    end = time.monotonic() + 20
    while len(c.log("TA" + tag, "out").split()) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    mask, port = c.log("TA" + tag, "out").split()
    other = int(c.log("TB" + tag, "out"))
    tap.same(mask, "0027", "%s: the umask that was asked for" % tag)
    own = lambda lease, port: c.ok("listens", lease=lease + tag, port=int(port))["own"]
    tap.same((own("TA", port), own("TB", port), own("TB", other), own("TA", other)), (True, False, True, False), "%s: whose a port is" % tag)
    with socket.create_server(("127.0.0.2", int(port))):
        tap.same(own("TA", port), False, "%s: a port that others listen on too is not a lease's own" % tag)
    tap.same(own("TA", 1), False, "%s: nobody listens" % tag)
    tap.same(c.code("listens", lease="TA" + tag, port=0), EINVAL, "%s: no port" % tag)
    for lease in ("TA", "TB"):
        c.ok("stop", lease=lease + tag, notice_ms=0)
        c.event("ended", lease=lease + tag)


def agent_killed(agent, tag):
    c = Client(agent.socket)
    uuid = c.ok("devices")["devices"][0]["uuid"]
    started = c.start("A" + tag, ["sh", "-c", "i=0; while read x; do i=$((i+1)); echo got $x $i; done; exit 5"],
                      stdin=True, devices=[uuid])
    c.start("G" + tag, ["sh", "-c", "echo before; sleep 1; exit 6"])
    c.start("W" + tag, ["sleep", "1000"], limit_ms=2500)
    counted = lambda data, at: c.ok("stdin", lease="A" + tag, data=encode(data), writer=9, **{"from": at})["taken"]
    counted(b"one\n", 0)
    c.wait_log("A" + tag, "got one 1")
    agent.kill()
    time.sleep(1.5)
    c = agent.up()
    listed = {l["lease"]: l for l in c.ok("list")["leases"]}
    tap.same((listed["A" + tag]["state"], listed["A" + tag]["pid"]), ("running", started["pid"]), "%s: adopted" % tag)
    tap.same(listed["A" + tag]["started_ms"], started["started_ms"], "%s: with its start" % tag)
    tap.same(c.code("start", lease="Q" + tag, argv=["true"], uid=UID, gid=UID, devices=[uuid]), EUNAVAILABLE,
             "%s: its device is still taken" % tag)
    c.ok("follow", lease="A" + tag, out=-1, err=-1)
    tap.same(counted(b"one\n", 0), 4, "%s: input that the agent before has taken counts once" % tag)
    counted(b"two\n", 4)
    tap.same(base64.b64decode(c.event("log", lease="A" + tag)["data"]), b"got two 2\n", "%s: input and log go on" % tag)
    c.ok("stdin", lease="A" + tag, data="", eof=True)
    tap.same(c.event("ended", lease="A" + tag)["exit_code"], 5, "%s: the exit code is delivered" % tag)
    tap.same(c.end_of("G" + tag)["exit_code"], 6, "%s: so is one of a program that ended meanwhile" % tag)
    ended = c.end_of("W" + tag)
    tap.ok("time limit" in ended["reason"], "%s: the time limit goes on" % tag, ended)
    agent.kill(signal.SIGTERM)
    c = agent.up()
    tap.same({l["lease"]: l["state"] for l in c.ok("list")["leases"]}["G" + tag], "ended", "%s: ended ones are kept" % tag)


def supervisor_killed(agent, tag):
    c = Client(agent.socket)
    mark = "orphan-%s-%d" % (tag, os.getpid())
    pid = c.start("K" + tag, [PYTHON, "-c", STUBBORN, mark + "stay", "bare"], uid=PYTHON_UID, gid=PYTHON_UID)["pid"]
    c.wait_log("K" + tag, "ready")
    with open("/proc/%d/stat" % pid) as f:
        supervisor = int(f.read().rsplit(")", 1)[1].split()[1])
    tap.ok(len(processes_with(mark)) >= 3, "%s: program and descendants run" % tag, processes_with(mark))
    os.kill(supervisor, signal.SIGKILL)
    ended = c.event("ended", lease="K" + tag)
    tap.same(processes_with(mark), [], "%s: a killed supervisor leaves nobody behind" % tag)
    tap.ok("supervisor" in ended["reason"] and ended["exit_code"] == -1, "%s: and it is said" % tag, ended)


def both_killed(agent, tag):
    c = Client(agent.socket)
    mark = "lonely-%s-%d" % (tag, os.getpid())
    pid = c.start("P" + tag, [PYTHON, "-c", STUBBORN, mark + "stay"], uid=PYTHON_UID, gid=PYTHON_UID)["pid"]
    c.wait_log("P" + tag, "ready")
    with open("/proc/%d/stat" % pid) as f:
        supervisor = int(f.read().rsplit(")", 1)[1].split()[1])
    agent.kill()
    os.kill(supervisor, signal.SIGKILL)
    c = agent.up()
    ended = c.end_of("P" + tag)
    tap.same(processes_with(mark), [], "%s: agent and supervisor killed: the program is found and ended" % tag)
    tap.same(ended["exit_code"], -1, "%s: how it ended is not known" % tag)


def reboot(agent):
    c = Client(agent.socket)
    c.start("R1", ["sleep", "1000"])
    agent.kill()
    path = agent.state + "/leases/R1/lease.json"
    with open(path) as f:
        record = json.load(f)
    record["boot_id"] = "another"
    with open(path, "w") as f:
        json.dump(record, f)
    c = agent.up()
    lease = c.end_of("R1")
    tap.same((lease["reason"], lease["exit_code"]), ("the machine was restarted", -1), "a lease of another boot has ended")


def backend_faults(agent):
    c = Client(agent.socket)
    devices = c.ok("devices")["devices"]
    uuids = [d["uuid"] for d in devices]
    agent.say({"gpu2": {"health": "faulty", "reason": "Xid 79"}})
    event = c.event("device", uuid=uuids[2], health="faulty")
    tap.same(event["reason"], "Xid 79", "a faulty device is told")
    tap.same([d["health"] for d in c.ok("devices")["devices"]], ["ok", "ok", "faulty", "ok"], "the others stay well")
    agent.say({"release": {"gpu1": "memory still used"}})
    c.event("device", uuid=uuids[2], health="ok")
    ended, _, _ = c.run("D1", ["true"], devices=uuids[:3])
    tap.same(ended["faulty"], [{"uuid": uuids[1], "reason": "memory still used"}], "a failed release names the device")
    tap.same(c.code("scrub", devices=[uuids[1]]), EUNAVAILABLE, "a scrub that fails says so")
    agent.say({})
    tap.same(c.call("scrub", devices=[uuids[1]]).get("ok"), {}, "and one that does not")
    agent.say({"gpu3": {"gone": True}, "gpu0": {"busy": 500, "memory_used": 7}})
    tap.ok(c.event("device", uuid=uuids[3], health="lost"), "a device that goes is lost")
    sample = c.ok("devices")["devices"][0]
    tap.same((sample["busy_permille"], sample["memory_used_bytes"]), (500, 7), "figures are shown")
    agent.say({"crash": "sample"})
    event = c.event("device", uuid=uuids[0], health="lost")
    tap.ok("backend sim" in event["reason"], "a crash loses the devices for a while", event)
    agent.say({})
    tap.ok(c.event("device", uuid=uuids[0], health="ok"), "a new child brings them back")
    c.start("D2", ["sleep", "1000"], devices=uuids[:1])
    agent.say({"hang": ["sample", "release"]})
    event = c.event("device", uuid=uuids[0], health="lost")
    tap.ok("no answer" in event["reason"], "a hang does too", event)
    tap.ok(Client(agent.socket).ok("list") is not None, "the agent itself does not hang")
    agent.say({})
    tap.ok(c.event("device", uuid=uuids[0], health="ok"), "and is got over")
    c.ok("stop", lease="D2", notice_ms=0)
    tap.same(c.event("ended", lease="D2")["faulty"], [], "its lease has lived through it")
    agent.say({"fail": "prepare"})
    answer = c.call("start", lease="D3", argv=["true"], uid=UID, gid=UID, devices=uuids[:1])
    tap.ok("told to fail" in answer.get("error", {}).get("text", ""), "a failed prepare refuses the start", answer)
    agent.say({})
    end = time.monotonic() + 10
    while any(l["lease"] == "D3" for l in c.ok("list")["leases"]) and time.monotonic() < end:
        time.sleep(0.05)
    tap.same(c.run("D3", ["true"], devices=uuids[:1])[0]["exit_code"], 0, "and leaves no trace")


def many(agent):
    c = Client(agent.socket)
    pid = agent.process.pid
    c.run("M", ["true"])
    c.ok("forget", lease="M")
    descriptors = len(os.listdir("/proc/%d/fd" % pid))
    running = set()
    for i in range(300):
        c.start("M%d" % i, ["true"])
        running.add("M%d" % i)
    while running:
        lease = c.event("ended")["lease"]
        running.discard(lease)
        c.ok("forget", lease=lease) if lease.startswith("M") else None
    time.sleep(0.3)
    tap.same(children_of(pid, "Z"), [], "no zombie after 300 starts")
    tap.ok(len(os.listdir("/proc/%d/fd" % pid)) <= descriptors, "no descriptor is lost",
           (len(os.listdir("/proc/%d/fd" % pid)), descriptors))
    tap.same([n for n in os.listdir(agent.state + "/leases") if n.startswith("M")], [], "forgotten leases leave no file")


def storm_on_supervisors(agent, tag):
    """Supervisors are killed at any moment of a start: every lease ends all the same, and nobody is left."""
    c = Client(agent.socket)
    mark = "9%d%s" % (os.getpid(), "1" if tag == "c" else "2")
    backends = children_of(agent.process.pid)
    for i in range(15):
        lease = "H%s%d" % (tag, i)
        c.send({"id": 100000 + i, "op": "start", "lease": lease, "argv": ["sleep", mark], "uid": UID, "gid": UID})
        time.sleep(random.random() * 0.008)
        for pid in children_of(agent.process.pid):
            if pid not in backends:
                os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 1
        state = ""
        while time.monotonic() < end and state != "ended":
            state = [l["state"] for l in c.ok("list")["leases"] if l["lease"] == lease][0]
            time.sleep(0.01)
        if state != "ended":
            # The blow came before there was a supervisor.
            c.ok("stop", lease=lease, notice_ms=0)
            c.end_of(lease)
    tap.same(processes_with("sleep " + mark), [], "%s: supervisors killed during 15 starts leave nobody behind" % tag)


def storm_on_agent(agent, tag):
    """The agent is killed at any moment of its work: no program is lost, none is there twice."""
    mark = "8%d%s" % (os.getpid(), "1" if tag == "c" else "2")
    lost = 0
    for i in range(12):
        c = Client(agent.socket)
        for k in range(3):
            c.send({"id": k, "op": "start", "lease": "J%s%d-%d" % (tag, i, k), "argv": ["sleep", mark], "uid": UID,
                    "gid": UID})
        time.sleep(random.random() * 0.04)
        agent.kill()
        c = agent.up()
        # A supervisor may be just about to start its program: not at once, but soon the two must agree.
        end = time.monotonic() + 10
        while True:
            leases = [l for l in c.ok("list")["leases"] if l["lease"].startswith("J%s%d-" % (tag, i))]
            running = [l for l in leases if l["state"] != "ended"]
            if len(processes_with("sleep " + mark)) == len(running) or time.monotonic() > end:
                break
            time.sleep(0.1)
        lost += time.monotonic() > end
        for l in running:
            c.ok("stop", lease=l["lease"], notice_ms=0)
        for l in running:
            c.end_of(l["lease"])
        for l in leases:
            c.ok("forget", lease=l["lease"])
    tap.same(lost, 0, "%s: an agent killed 12 times amid starts knows of every program" % tag)
    tap.same(processes_with("sleep " + mark), [], "%s: and ends them all" % tag)


def second_agent(agent):
    other = agent.command()
    other[2] = agent.folder + "/other.sock"
    done = subprocess.run(other, capture_output=True, text=True, timeout=30,
                          env=dict(os.environ, SLUICE_PLUGIN_PATH=agent.folder + "/plugins"))
    tap.ok(done.returncode == 3 and "another sluice-agent (pid " in done.stderr and "stop that one" in done.stderr, "a second agent on the state refuses",
           done.stderr)
    other = agent.command()
    other[4] = agent.folder + "/other-state"
    done = subprocess.run(other, capture_output=True, text=True, timeout=30,
                          env=dict(os.environ, SLUICE_PLUGIN_PATH=agent.folder + "/plugins"))
    tap.ok(done.returncode == 3 and "another program listens on" in done.stderr, "a second agent on the socket refuses",
           done.stderr)
    tap.ok(Client(agent.socket).ok("list") is not None, "the first goes on")


def attempt(test, *arguments):
    try:
        test(*arguments)
    except Exception:
        tap.ok(False, "%s%r" % (test.__name__, arguments[1:]), traceback.format_exc() + arguments[0].words()[-3000:])


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP programs are started as another user here, which needs root")
        return 0
    with_tag = (stopping, ports, agent_killed, supervisor_killed, both_killed, storm_on_supervisors, storm_on_agent)
    agent = Agent()
    containment = Client(agent.socket).hello["containment"]
    print("# containment: %s" % containment)
    for test in (basics, failures, hostile, strangers, inheritance, input_and_follow, flood, backend_faults, many,
                 second_agent, reboot):
        attempt(test, agent)
    for test in with_tag:
        attempt(test, agent, "c")
    tap.same(agent.end(), 0, "the agent ends on TERM")
    agent = Agent("--no-cgroup")
    tap.same(Client(agent.socket).hello["containment"], "processes", "without cgroups")
    for test in with_tag:
        attempt(test, agent, "p")
    tap.same(agent.end(), 0, "the agent ends on TERM, without cgroups")
    return tap.done()


sys.exit(main())
