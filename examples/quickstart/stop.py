#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stops one quickstart and nothing else: stop.py FOLDER [--remove].

sluiced is known by its pid file. The agent, and what runs on leases, outlive it on purpose: the agent's own socket says
which process it is and what it runs, so nobody is looked for by name."""
import json
import os
import shutil
import signal
import socket
import struct
import sys
import time


class Agent:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.number = 0

    def read(self, n):
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise OSError("the agent has closed the connection")
            data += piece
        return data

    def call(self, op, **fields):
        self.number += 1
        text = json.dumps({"id": self.number, "op": op, **fields}).encode()
        self.socket.sendall(struct.pack(">I", len(text)) + text)
        while True:
            answer = json.loads(self.read(struct.unpack(">I", self.read(4))[0]))
            if answer.get("id") == self.number:
                return answer.get("ok") or {}

    def running(self):
        return [lease["lease"] for lease in self.call("list").get("leases", []) if lease["state"] != "ended"]


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def end(pid, seconds):
    """TERM, and KILL when that is not heard."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        until = time.monotonic() + seconds
        while not gone(pid) and time.monotonic() < until:
            time.sleep(0.02)


def stop_sluiced(folder):
    try:
        with open(os.path.join(folder, "sluiced.pid")) as f:
            pid = int(f.read())
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read().split(b"\0")
    except (OSError, ValueError):
        return
    if os.path.join(folder, "sluice.lua").encode() in words:  # and not one who has got the number since
        end(pid, 40)


def stop_agent(folder):
    try:
        agent = Agent(os.path.join(folder, "run", "agent.sock"))
        pid = agent.call("hello", version=1)["pid"]
        for lease in agent.running():
            agent.call("stop", lease=lease, notice_ms=1000, reason="the quickstart ends")
        until = time.monotonic() + 20
        while agent.running() and time.monotonic() < until:
            time.sleep(0.05)
    except OSError:
        return
    end(pid, 5)


if __name__ == "__main__":
    site = os.path.realpath(sys.argv[1])
    stop_sluiced(site)
    stop_agent(site)
    if "--remove" in sys.argv[2:] and os.path.exists(os.path.join(site, "sluice.lua")):
        shutil.rmtree(site, ignore_errors=True)
