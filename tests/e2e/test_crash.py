# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments: every answer that a client saw complete is in the ledger exactly once, with its counts."""
import json
import os
import random
import socket
import sqlite3
import threading
import time

from conftest import model
from fake_engine import Engine
from sluice_site import Site

ROUNDS = int(os.environ.get("SLUICE_CRASH_ROUNDS", "3" if os.environ.get("SLUICE_QUICK") else "12"))
CLIENTS = 50


class Client(threading.Thread):
    """Streams until told to stop, keeping the id and the counts of every answer that it saw complete."""

    def __init__(self, site, key, seed):
        super().__init__(daemon=True)
        self.site, self.key, self.chance, self.complete, self.go = site, key, random.Random(seed), {}, True

    def run(self):
        while self.go:
            try:
                self.one(self.chance.randint(3, 30))
            except OSError:
                time.sleep(0.02)

    def one(self, n):
        body = json.dumps({"model": "m", "stream": True, "max_tokens": n, "messages": [{"role": "user", "content": f"n={n} gap=0.004"}]}).encode()
        with socket.create_connection(("127.0.0.1", self.site.port), timeout=10) as s:
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
                      b"authorization: Bearer " + self.key.encode() + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            got = b""
            while piece := s.recv(65536):
                got += piece
        if b"data: [DONE]" in got and b'"error"' not in got:
            head = got.split(b"\r\n\r\n")[0].decode().lower()
            request = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("x-request-id"))
            self.complete[request] = n


def test_kill_9(engine):
    chance = random.Random(1)
    with Site("workers(2)\n" + model(engine)) as s:
        s.start()
        key = s.key()
        clients = [Client(s, key, i) for i in range(CLIENTS)]
        for c in clients:
            c.start()
        slowest = 0
        for _ in range(ROUNDS):
            time.sleep(chance.uniform(0.2, 0.9))
            s.kill()
            begin = time.monotonic()
            s.start()
            slowest = max(slowest, time.monotonic() - begin)
        time.sleep(0.5)
        for c in clients:
            c.go = False
        for c in clients:
            c.join(20)
        complete = {k: v for c in clients for k, v in c.complete.items()}
        s.usage_rows(1)  # the store has everything now
        with sqlite3.connect(os.path.join(s.folder, "state", "sluice.db")) as store:
            store.row_factory = sqlite3.Row
            rows = [dict(r) for r in store.execute("SELECT * FROM usage")]
        by_id = {}
        for r in rows:
            by_id.setdefault(r["request_id"].lower(), []).append(r)
        assert len(complete) > ROUNDS * 10
        for request, n in complete.items():
            assert len(by_id.get(request, [])) == 1, f"{request}: {len(by_id.get(request, []))} rows"
            row = by_id[request][0]
            assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"], row["status"]) == (11, 4, n, 200)
        assert all(len(v) == 1 for v in by_id.values()), "no row twice"
        print(f"{len(complete)} complete answers, {len(rows)} rows, {ROUNDS} kills, slowest start {slowest:.2f} s")
