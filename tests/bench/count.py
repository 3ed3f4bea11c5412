#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what a request costs sluiced, in figures that a busy machine does not blur: user instructions and allocations
(callgrind), system calls (strace). race.py's site: keys, limits, a policy in Lua, log, metrics, ledger.

    tests/bench/count.py [--requests 6400] [--body 1024] [--durability async] [--functions 0] [--streams]
                         [--door chat]

Needs valgrind and strace, and an installed tree (build/root, or SLUICE_ROOT). Requests come in rounds of 64, one on
each connection. Callgrind emulates a processor without SHA instructions: SHA-256 of a key counts as about
4,000 instructions there, and takes 80 ns where it has them.
"""
import argparse
import collections
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import race  # noqa: E402

CONNECTIONS = 64
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "translated": "/v1/messages"}
ALLOCATING = ("malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign")


class Driver:
    """Connections that send one request each, then wait for all answers."""

    def __init__(self, port, key, body_bytes, stream, path):
        head = '{"model":"m","stream":%s,"max_tokens":100,"messages":[{"role":"user","content":"' % str(stream).lower()
        text = "A gateway relays requests to the engine. " * (body_bytes // 40 + 1)
        body = (head + text[:max(0, body_bytes - len(head) - 6)] + '"}]}').encode()
        self.request = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
                        "Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: OpenAI/Python 3.54.0\r\n"
                        f"X-Stainless-Lang: python\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        self.stream = stream

    def answer(self, s):
        data = b""
        while True:
            piece = s.recv(1 << 16)
            if not piece:
                raise SystemExit("the connection was closed: " + data.decode(errors="replace")[:400])
            data += piece
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                continue
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit("not answered with 200: " + data.decode(errors="replace")[:400])
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if (len(rest) >= int(length[1])) if length else rest.endswith(b"0\r\n\r\n"):
                return

    def run(self, requests):
        for _ in range(requests // CONNECTIONS):
            for s in self.sockets:
                s.sendall(self.request)
            for s in self.sockets:
                self.answer(s)

    def close(self):
        for s in self.sockets:
            s.close()


def with_site(args, prefix, measure):
    """Runs measure(driver, site, folder) against a site that is started behind `prefix`."""
    folder = tempfile.mkdtemp(prefix="sluice-count-")
    os.chmod(folder, 0o755)
    port, engine = race.free_port(), os.path.join(folder, "engine")
    subprocess.run(["cc", "-O2", "-o", engine, os.path.join(HERE, "engine.c")], check=True)
    process = subprocess.Popen([engine, str(port), "20", "0", "200"])
    config = race.SLUICE.format(durability=args.durability, url=f"http://127.0.0.1:{port}")
    if args.door == "messages":  # an engine that is taken to speak them itself
        config = config.replace('engine = "openai"', 'engine = "vllm"')
    site = race.Site(config, policy=race.POLICY)
    try:
        site.start(wait=False, prefix=prefix(folder))
        site.wait_ready(120)
        driver = Driver(site.port, site.key("bench"), args.body, args.streams, PATHS[args.door])
        try:
            driver.run(4 * CONNECTIONS)
            return measure(driver, site, folder)
        finally:
            driver.close()
    finally:
        site.close()
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def count_instructions(args):
    """Instructions by thread and by function, and calls of the functions that allocate. What a run of `requests` costs
    more than one without them is what they cost: so starting and stopping are not in it."""
    def run(requests):
        def prefix(folder):
            os.chmod(folder, 0o777)  # sluiced gives up root, and callgrind writes at its end
            return ("valgrind", "--tool=callgrind", "--separate-threads=yes", "-q", f"--callgrind-out-file={folder}/out")

        def measure(driver, site, folder):
            driver.run(requests)
            time.sleep(0.5)
            driver.close()
            site.stop()
            return read_dump(folder)

        return with_site(args, prefix, measure)

    without, threads = run(0), run(args.requests)
    for one, other in zip(threads, without):
        one.subtract(other)
    return threads


def read_dump(folder):
    """Costs by thread, own costs by function, calls by function."""
    threads, functions, calls = collections.Counter(), collections.Counter(), collections.Counter()
    for path in glob.glob(os.path.join(folder, "out-*")):
        names, called, in_call, thread = {}, None, False, os.path.basename(path)[4:]
        with open(path, errors="replace") as f:
            for line in f:
                m = re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line)
                if m:
                    if m[3]:
                        names[m[2]] = re.sub(r"'\d+$", "", m[3].strip())
                    if m[1]:
                        called = names[m[2]]
                    else:
                        current = names[m[2]]
                elif line.startswith("calls="):
                    calls[called.split("@")[0]] += int(line[6:].split()[0])
                    in_call = True
                elif re.match(r"[+\-*\d]", line):
                    if not in_call:
                        functions[current] += int(line.split()[-1])
                        threads[thread] += int(line.split()[-1])
                    in_call = False
    return threads, functions, calls


def count_calls(args):
    """System calls by name, of args.requests requests."""
    def measure(driver, site, folder):
        out = os.path.join(folder, "strace")
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-c", "-o", out, "-p", str(site.process.pid)],
                                  stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        driver.run(args.requests)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        calls = collections.Counter()
        with open(out) as f:
            for line in f:
                words = line.split()
                if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                    calls[words[-1]] += int(words[3])
        return calls

    return with_site(args, lambda folder: (), measure)


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--requests", type=int, default=6400)
    a.add_argument("--body", type=int, default=1024)
    a.add_argument("--durability", default="async", choices=("async", "held"))
    a.add_argument("--door", default="chat", choices=PATHS, help="messages: passed on (plain answers only); translated: to chat")
    a.add_argument("--functions", type=int, default=0, help="print so many functions that cost most")
    a.add_argument("--streams", action="store_true", help="streams of 20 events instead of plain answers")
    args = a.parse_args()
    for program in ("valgrind", "strace"):
        if not shutil.which(program):
            raise SystemExit(f"count.py: {program} is missing")
    args.requests = max(CONNECTIONS, args.requests // CONNECTIONS * CONNECTIONS)
    threads, functions, made = count_instructions(args)
    print(f"user instructions a request: {sum(threads.values()) / args.requests:,.0f}")
    for name, cost in sorted(threads.items(), key=lambda item: -item[1]):
        if cost >= args.requests * 10:
            print(f"  thread {name}: {cost / args.requests:,.0f}")
    for name, cost in functions.most_common(args.functions):
        print(f"  {cost / args.requests:8,.0f}  {name}")
    allocations = sum(made[name] for name in ALLOCATING)
    print(f"allocations a request: {allocations / args.requests:.2f}")
    calls = count_calls(args)
    print(f"system calls a request: {sum(calls.values()) / args.requests:.2f}")
    for name, n in calls.most_common():
        if n >= args.requests / 100:
            print(f"  {name}: {n / args.requests:.2f}")


if __name__ == "__main__":
    main()
