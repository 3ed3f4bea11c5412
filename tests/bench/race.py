#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Races sluice against nginx and haproxy as plain reverse proxies in front of the same engine, in interleaved rounds,
and prints CPU, events, latency and memory, each with its ratio to nginx of the same run. The routers of other projects
(vllm-router, smg) race too where they are on the PATH.

    tests/bench/race.py [--rounds 3] [--seconds 3] [--only plain,large,streams,gaps,bunched,latency,memory,...]

Needs nginx and haproxy, an installed tree (tests/run.sh makes build/root; or SLUICE_ROOT), and two cores: the proxy
has one to itself, load and engine share the other. What sluice does meanwhile: keys, limits, Lua, log, metrics, and
its ledger, with answers held for it ("held") or not ("async"). The others do none of it.
"""
import argparse
import glob
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
from sluice_site import Site, free_port, ROOT, TOP  # noqa: E402

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 20000; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_body_buffer_size 128k; keepalive_requests 100000000;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 1024; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://engine; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend f
  bind 127.0.0.1:{port} backlog 4096
  default_backend b
backend b
  server e 127.0.0.1:{engine}
"""
SLUICE = """
workers(1)
durability "{durability}"
limits {{ connections = 20000 }}
tier "bench" {{ requests = {{ 1000000000, per = "minute" }}, tokens = {{ 100000000000, per = "minute" }}, concurrency = 100000,
  cost = {{ 1000000, per = "month" }} }}
tenant "bench" {{ tier = "bench" }}
model "m" {{ engine = "openai", endpoints = {{ {{ url = "{url}", concurrency = 100000 }} }}, concurrency = 100000,
  price = {{ input = "0.10", cached = "0.02", output = "0.40" }} }}
"""

ROUTERS = (("vllm-router", "--log-level", "warning"), ("smg", "launch", "--log-level", "warn"))

POLICY = """
function admit(req)
  if req.model ~= "m" or req.tier.name ~= "bench" or req.prompt.tokens > 100000 or req.tenant.name == "nobody" then
    return deny(403, "not_today", "Not today.")
  end
  return { limits = req.tier.limits, priority = req.tier.priority }
end
"""


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path) as f:
                    total += int(f.read().split()[0])
            except OSError:
                pass
    return total / 1e9


def rss_kib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    return total


def children(pid):
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [pid] + [int(p) for p in out]


class Proxy:
    key = "none"

    def __init__(self, name):
        self.name = name

    def pids(self):
        return children(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Nginx(Proxy):
    def start(self, engine, unix, folder):
        self.port = free_port()
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w") as f:
            f.write(NGINX.format(folder=folder, port=self.port, engine=engine))
        self.process = subprocess.Popen(["taskset", "-c", "1", shutil.which("nginx") or "/usr/sbin/nginx", "-c", conf],
                                        stderr=subprocess.DEVNULL)


class Haproxy(Proxy):
    def start(self, engine, unix, folder):
        self.port = free_port()
        conf = os.path.join(folder, "haproxy.cfg")
        with open(conf, "w") as f:
            f.write(HAPROXY.format(port=self.port, engine=engine))
        self.process = subprocess.Popen(["taskset", "-c", "1", shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", conf],
                                        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Router(Proxy):
    """One of those that are made for the same work; both have the same options."""

    def __init__(self, program, *words):
        super().__init__(program)
        self.words = (program, *words)

    def start(self, engine, unix, folder):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["taskset", "-c", "1", *self.words, "--host", "127.0.0.1", "--port", str(self.port), "--worker-urls",
             f"http://127.0.0.1:{engine}", "--policy", "round_robin", "--prometheus-host", "127.0.0.1",
             "--prometheus-port", str(free_port())], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.wait()

    def wait(self):
        """Answers come once it has seen its engine."""
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
        for _ in range(150):
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                c.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
                if c.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                c.close()
            time.sleep(0.2)
        self.stop()
        raise TimeoutError(f"{self.name}: no answer within 30 s, left out")


class Sluice(Proxy):
    def __init__(self, name, durability, unix=False):
        super().__init__(name)
        self.durability, self.unix = durability, unix

    def start(self, engine, unix, folder):
        url = "unix:" + unix if self.unix else f"http://127.0.0.1:{engine}"
        self.site = Site(SLUICE.format(durability=self.durability, url=url), policy=POLICY)
        self.site.start(prefix=("taskset", "-c", "1"))
        self.port = self.site.port
        self.process = self.site.process
        self.key = self.site.key("bench")

    def pids(self):
        return [self.process.pid]

    def stop(self):
        self.site.close()


def load(kind, proxy, connections, seconds, body, rate=None):
    before = cpu_seconds(proxy.pids())
    args = ["taskset", "-c", "0", BIN["load"], kind, str(proxy.port), proxy.key, str(connections), str(seconds), str(body)]
    out = subprocess.run(args + ([str(rate)] if rate else []), capture_output=True, text=True)
    if out.returncode:
        raise SystemExit(f"{proxy.name}: load failed: {out.stderr}")
    r = json.loads(out.stdout)
    r["cpu"] = cpu_seconds(proxy.pids()) - before
    if r["errors"]:
        print(f"  {proxy.name}: {r['errors']} errors, first status {r['error_status']}", file=sys.stderr)
    return r


def memory(proxy, n):
    """KiB of the proxy per connection that is idle after one request."""
    load("plain", proxy, 8, 0.5, 1024)
    before = rss_kib(proxy.pids())
    p = subprocess.Popen(["taskset", "-c", "0", BIN["load"], "idle", str(proxy.port), proxy.key, str(n), "5", "1024"],
                         stdout=subprocess.PIPE, text=True)
    p.stdout.readline()
    time.sleep(0.5)
    after = rss_kib(proxy.pids())
    p.kill()
    p.wait()
    return (after - before) / n, before


def stream_memory(proxy, n):
    before = rss_kib(proxy.pids())
    p = subprocess.Popen(["taskset", "-c", "0", BIN["load"], "stream", str(proxy.port), proxy.key, str(n), "4", "1024"],
                         stdout=subprocess.PIPE, text=True)
    time.sleep(2.5)
    after = rss_kib(proxy.pids())
    p.kill()
    p.wait()
    return (after - before) / n


def start_engine(events, gap_us, port, unix):
    procs = [subprocess.Popen(["taskset", "-c", "0", BIN["engine"], a, str(events), str(gap_us), "200"])
             for a in (str(port), unix)]
    time.sleep(0.2)
    return procs


RACES = {
    # name: (what is printed, engine (events, gap), measure(proxy, seconds) -> figure, smaller is better)
    "plain": ("CPU us per request, 1 KiB body, 64 connections", (20, 0),
              lambda p, s: (lambda r: r["cpu"] * 1e6 / r["answers"])(load("plain", p, 64, s, 1024)), True),
    "large": ("CPU us per request, 32 KiB body, 64 connections", (20, 0),
              lambda p, s: (lambda r: r["cpu"] * 1e6 / r["answers"])(load("plain", p, 64, s, 32768)), True),
    "streams": ("thousand events per CPU second, 1,000 streams, one event each 50 ms", (200, 50000),
                lambda p, s: (lambda r: r["events"] / r["cpu"] / 1e3)(load("stream", p, 1000, s + 1, 1024)), False),
    "gaps": ("p99 gap between reads at the client, ms, 1,000 streams at 50 ms", (200, 50000),
             lambda p, s: load("stream", p, 1000, s + 1, 1024)["gap_p99_us"] / 1e3, True),
    "bunched": ("thousand events per CPU second, 64 streams without gap", (1000, 0),
                lambda p, s: (lambda r: r["events"] / r["cpu"] / 1e3)(load("stream", p, 64, s, 1024)), False),
    "latency": ("p50 us at 500 requests/s", (20, 0),
                lambda p, s: load("plain", p, 16, s, 1024, 500)["p50_us"], True),
    "memory": ("KiB per idle connection, both sides", (20, 0), lambda p, s: memory(p, 4000)[0], True),
    "stream-memory": ("KiB per open stream", (400, 50000), lambda p, s: stream_memory(p, 1000), True),
    "idle": ("MiB of the idle daemon", (20, 0), lambda p, s: rss_kib(p.pids()) / 1024, True),
}
BIN = {}


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--seconds", type=float, default=3)
    a.add_argument("--only", default=",".join(RACES))
    a = a.parse_args()
    folder = tempfile.mkdtemp(prefix="sluice-race-")
    os.chmod(folder, 0o755)
    for name in ("engine", "load"):
        BIN[name] = os.path.join(folder, name)
        subprocess.run(["cc", "-O2", "-o", BIN[name], os.path.join(HERE, name + ".c")], check=True)
    for name in a.only.split(","):
        title, (events, gap), measure, smaller = RACES[name]
        proxies = [Nginx("nginx"), Sluice("sluice, async", "async"), Sluice("sluice, held", "held"),
                   Sluice("sluice, async, Unix socket", "async", True)]
        if shutil.which("haproxy") or os.path.exists("/usr/sbin/haproxy"):
            proxies.insert(1, Haproxy("haproxy, http-no-delay"))
        proxies += [Router(*words) for words in ROUTERS if shutil.which(words[0])]
        port, unix = free_port(), os.path.join(folder, "engine.sock")
        engines = start_engine(events, gap, port, unix)
        try:
            for p in proxies[:]:
                try:
                    p.start(port, unix, folder)
                except TimeoutError as e:
                    print(e, file=sys.stderr)
                    proxies.remove(p)
            time.sleep(0.5)
            figures = {p.name: [] for p in proxies}
            for p in proxies:
                if name not in ("idle", "memory", "stream-memory"):
                    load("plain", p, 16, 0.5, 1024)
            for _ in range(1 if name in ("memory", "stream-memory", "idle") else a.rounds):
                for p in proxies:
                    figures[p.name].append(measure(p, a.seconds))
            base = statistics.median(figures["nginx"])
            print(f"\n{title} ({'less' if smaller else 'more'} is better)")
            for p in proxies:
                v = figures[p.name]
                m = statistics.median(v)
                print(f"  {p.name:<28} {m:10.2f}  [{min(v):.2f} - {max(v):.2f}]   {m / base if base else 0:.2f} x nginx", flush=True)
        finally:
            for p in proxies:
                try:
                    p.stop()
                except Exception:  # one that never started
                    pass
            for e in engines:
                e.kill()
                e.wait()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
