# SPDX-License-Identifier: Apache-2.0
"""A small fake of the control door, for tests of the command line.

Answers on a Unix socket with fixed documents and keeps what it was asked in Fake.calls. A test changes what it says
by Fake.answers[(method, path)] = (status, document) or a function of the call, and scripts a lease by Fake.streams:
a list, one entry a connection, of functions that write to the stream.
"""
import base64
import json
import os
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

DEVICES = [
    {"device": "node1/gpu0", "uuid": "GPU-aaaa-0", "machine": "node1", "index": 0, "vendor": "sim", "model": "H100",
     "kind": "h100-80g", "memory_bytes": 85899345920, "memory_used_bytes": 1073741824, "busy_permille": 712,
     "temperature_c": 51, "power_mw": 412300, "state": "granted", "health": "ok", "reason": "", "holder": "dana",
     "lease": "L1040", "ends_at": None, "island": "0", "numa_node": 0, "isolation": "whole", "backend": "sim"},
    {"device": "node1/gpu1", "uuid": "GPU-bbbb-1", "machine": "node1", "index": 1, "vendor": "sim", "model": "H100",
     "kind": "h100-80g", "memory_bytes": 85899345920, "memory_used_bytes": -1, "busy_permille": -1,
     "temperature_c": -1, "power_mw": -1, "state": "faulty", "health": "faulty", "reason": "Xid 79", "holder": None,
     "lease": None, "ends_at": None, "island": "0", "numa_node": -1, "isolation": "whole", "backend": "sim"},
]


def lease(**more):
    """A lease's record; what is given over what it usually is."""
    record = {"lease": "L1042", "name": "train", "tenant": "physics", "user": "dana", "queue": "research", "gpus": 2,
              "kind": "h100-80g", "memory_bytes": 0, "state": "queued", "reason": "2 more h100-80g", "where": [],
              "devices": [], "created_at": "2026-11-24T12:00:00.000Z", "started_at": None, "ended_at": None,
              "age_s": 2520, "wait_s": 2520, "run_s": 0, "ends_at": None, "time_s": 3600, "exit_code": None,
              "signal": None, "argv": ["python", "train.py"], "holder": "job", "model": None, "gpu_s": 0,
              "cost": "0", "priority": 0, "detach": False}
    record.update(more)
    return record


def ended(**more):
    record = lease(state="ended", reason="", started_at="2026-11-24T12:42:00.000Z", exit_code=0, signal=0,
                   ended_at="2026-11-24T13:54:00.000Z", run_s=4320, gpu_s=8640, cost="6.000000000000",
                   where=["node1/gpu0", "node1/gpu1"])
    record.update(more)
    return record


def error(message, kind="invalid_request_error", code="bad", **more):
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **more}}


STATUS = {
    "version": "0.1.0", "started_at": "2026-11-24T09:00:00.000Z", "up_s": 273600, "door": "http://127.0.0.1:8080",
    "metrics": "http://127.0.0.1:9090/metrics",
    "config": "7f3a2c91", "config_at": "2026-11-24T10:00:00.000Z", "ready": True, "state": "ready",
    "durability": "held", "gpus": {"total": 16, "leased": 12, "free": 2, "faulty": 1, "draining": 1},
    "leases": {"running": 11, "waiting": 3, "longest_wait_s": 2520}, "models": {"ready": 6, "starting": 0, "none": 2},
    "requests": {"total": 1000, "errors": 1, "active": 4},
    "today": {"requests": 31204, "input_tokens": 41200000, "cached_tokens": 12, "output_tokens": 999,
              "cost": "48.200000000000"},
    "currency": "EUR", "workers": 2, "agents": [{"machine": "node1", "state": "up", "containment": "cgroup2"}],
    "needs_you": [{"text": "node1/gpu1 faulty: Xid 79", "command": "sluicectl devices show node1/gpu1"}],
}
MODELS = [{"model": "llama-8b", "engine": "vllm", "state": "ready", "replicas": 1, "wanted": 2, "running": 3,
           "waiting": 0, "requests_total": 31204, "gpus": 1, "endpoints": [],
           "price": {"input": "0.10", "cached": "0.02", "output": "0.40"}}]
REPLICAS = [{"replica": "llama-8b/r1", "model": "llama-8b", "state": "ready", "where": "node1/gpu0", "lease": "L1001",
             "running": 3, "waiting": 0, "age_s": 90, "address": "unix:/run/x", "failures": 0, "why": ""}]
TENANTS = [{"tenant": "physics", "tier": "free", "users": ["dana", "eve"], "queues": ["research"], "operators": False,
            "disabled": False, "source": "file"}]
KEYS = [{"key": "slk_7Q2MXpVt", "name": "notebook, big", "tenant": "physics", "user": "dana", "state": "active",
         "roles": ["infer"], "created_at": "2026-11-01T00:00:00.000Z", "last_used_at": None, "expires_at": None}]
USAGE = {"rows": [{"model": "llama-8b", "requests": 31204, "input_tokens": 124000000, "cached_tokens": 88100000,
                   "output_tokens": 11200000, "gpu_s": 0.0, "cost": "18.640000000001",
                   "replica_gpu_s": 7200.001, "replica_cost": "5.000000694444441"}],
         "total": {"requests": 31221, "input_tokens": 124000000, "cached_tokens": 88100000,
                   "output_tokens": 11200000, "gpu_s": 149400, "cost": "122.390000000000",
                   "replica_gpu_s": 7200.001, "replica_cost": "5.000000694444441"}, "currency": "EUR"}
LIMITS = [{"name": "tokens/minute", "scope": "key:slk_7Q2MXpVt", "metric": "tokens", "window": "minute", "used": 490,
           "reserved": 1412, "max": 20000, "resets_in_s": 31}]


class Stream:
    """The stream of one connection, for a script."""

    def __init__(self, handler, query):
        self.handler = handler
        self.fake = handler.server.fake
        self.out = int(query.get("out", 0))
        self.err = int(query.get("err", 0))

    def raw(self, data):
        self.handler.wfile.write(data)
        self.handler.wfile.flush()

    def line(self, document):
        data = (json.dumps(document) + "\n").encode()
        self.raw(b"%x\r\n" % len(data) + data + b"\r\n")

    def state(self, state, reason="", **more):
        self.line({"state": state, "reason": reason, **more})

    def log(self, source, data, start):
        self.line({"log": source, "from": start, "data": base64.b64encode(data).decode()})

    def end(self, **more):
        self.line({"ended": ended(**more)})
        self.raw(b"0\r\n\r\n")

    def wait(self, method, suffix, seconds=10):
        """The first call of that method whose path ends so, once it has come."""
        return self.fake.wait(method, suffix, seconds)


def plain_run(stream):
    stream.state("queued", "2 more h100-80g")
    stream.state("running")
    stream.log("out", b"hello\n", 0)
    stream.log("err", b"warning\n", 0)
    stream.end()


class Call:
    def __init__(self, method, target, body, headers):
        parts = urlsplit(target)
        self.method, self.path, self.target, self.body = method, parts.path, target, body
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = headers

    def json(self):
        return json.loads(self.body)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def answer(self, status, document=None, raw=None, kind="application/json"):
        data = raw if raw is not None else json.dumps(document).encode() if document is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, call):
        fake = self.server.fake
        with fake.lock:
            script = fake.streams.pop(0) if fake.streams else plain_run
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        script(Stream(self, call.query))

    def serve(self):
        fake = self.server.fake
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self.command, self.path, body, self.headers)
        fake.add(call)
        known = fake.answers.get((call.method, call.path))
        if callable(known):
            known = known(call)
        if known == "silent":
            time.sleep(60)
        elif known is not None and known[0] == "raw":
            self.wfile.write(known[1])
        elif known is not None:
            self.answer(known[0], known[1])
        elif call.path.endswith("/stream"):
            self.stream(call)
        elif call.path.endswith("/logs"):
            self.answer(200, raw=fake.logs[call.query.get("source", "out")], kind="application/octet-stream")
        elif call.path.startswith("/v1/gpu/leases/"):
            self.answer(202 if call.method == "DELETE" else 200, lease(history=[
                {"at": "2026-11-24T12:00:00.000Z", "state": "queued", "reason": "2 more h100-80g"}]))
        else:
            self.answer(404, error("there is nothing at %s" % call.path, code="not_found"))

    def serve_quietly(self):
        try:
            self.serve()
        except (BrokenPipeError, ConnectionResetError):
            pass

    do_GET = do_POST = do_DELETE = serve_quietly


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class Fake:
    """The fake on `path`, from start() to stop(); may be started again."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.arrived = threading.Condition(self.lock)
        self.server = None
        self.reset()

    def reset(self):
        self.calls, self.streams = [], []
        self.logs = {"out": b"one\ntwo\nthree\n", "err": b"oops\n"}
        ok = (200, {})
        self.answers = {
            ("GET", "/v1/status"): (200, STATUS),
            ("GET", "/v1/gpu/devices"): (200, DEVICES),
            ("GET", "/v1/gpu/leases"): (200, [lease(), ended(lease="L1040", name="sweep")]),
            ("POST", "/v1/gpu/leases"): (201, lease()),
            ("GET", "/v1/models"): (200, MODELS),
            ("GET", "/v1/replicas"): (200, REPLICAS),
            ("GET", "/v1/tenants"): (200, TENANTS),
            ("POST", "/v1/tenants"): (201, TENANTS[0]),
            ("DELETE", "/v1/tenants/physics"): ok,
            ("GET", "/v1/keys"): (200, KEYS),
            ("POST", "/v1/keys"): (201, {**KEYS[0], "secret": "slk_7Q2MXpVtSECRET"}),
            ("POST", "/v1/keys/slk_7Q2MXpVt/disable"): (200, KEYS[0]),
            ("POST", "/v1/keys/slk_7Q2MXpVt/enable"): (200, KEYS[0]),
            ("DELETE", "/v1/keys/slk_7Q2MXpVt"): (204, None),
            ("GET", "/v1/usage"): (200, USAGE),
            ("GET", "/v1/limits"): (200, LIMITS),
            ("GET", "/v1/ledger"): (200, {"appended": 5, "committed": 5, "fed": 5, "commits": 2, "refused": 0,
                                          "segments": 1, "accepting": True}),
            ("GET", "/v1/config"): (200, {"models": {"llama-8b": {"engine": "vllm"}}}),
            ("POST", "/v1/reload"): (200, {"config": "8a8a8a8a", "warnings": ["sluice.lua:3: 'x' is not used", "sluice.lua:4: warning: no file matches"]}),
            ("POST", "/v1/drain"): ok,
            ("POST", "/v1/undrain"): ok,
            ("POST", "/v1/policy/eval"): (200, {"admit": {"verdict": "allow"}, "route": {}}),
            ("POST", "/v1/gpu/devices/node1/gpu0/drain"): (200, DEVICES[0]),
            ("POST", "/v1/gpu/devices/node1/gpu0/undrain"): (200, DEVICES[0]),
            ("POST", "/v1/models/llama-8b/start"): (200, MODELS[0]),
            ("POST", "/v1/models/llama-8b/stop"): (200, MODELS[0]),
            ("POST", "/v1/gpu/leases/L1042/signal"): ok,
            ("POST", "/v1/gpu/leases/L1042/stdin"): ok,
        }

    def start(self):
        self.server = Server(self.path, Handler)
        self.server.fake = self
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            os.unlink(self.path)
            self.server = None

    def add(self, call):
        with self.lock:
            self.calls.append(call)
            self.arrived.notify_all()

    def find(self, method, suffix):
        return [c for c in self.calls if c.method == method and c.path.endswith(suffix)]

    def wait(self, method, suffix, seconds=10):
        end = time.monotonic() + seconds
        with self.lock:
            while not self.find(method, suffix):
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self.arrived.wait(left)
            return self.find(method, suffix)[0]


if __name__ == "__main__":
    import sys
    fake = Fake(sys.argv[1])
    fake.start()
    threading.Event().wait()
