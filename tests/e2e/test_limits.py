# SPDX-License-Identifier: Apache-2.0
"""No quota is ever overspent, and at rest nothing is reserved."""
import json
import random
import re
import socket
import threading
import time

import pytest
from conftest import model
from fake_engine import Engine
from sluice_site import Site

TIERS = '''
workers(2)
tier "hundred" { requests = { 100, per = "day" } }
tier "tokens" { tokens = { 20000, per = "day" } }
tier "four" { concurrency = 4 }
tier "poor" { cost = { "0.001", per = "month" } }
tier "counted" { requests = { 7, per = "day" }, tokens = { 900, per = "day", scope = "tenant" },
  output_tokens = { 800, per = "day", scope = "model" } }
tier "one" { models = { "m" }, max_output = 7 }
tenant "hundred" { tier = "hundred" }
tenant "tokens" { tier = "tokens" }
tenant "four" { tier = "four" }
tenant "poor" { tier = "poor" }
tenant "counted" { tier = "counted" }
tenant "one" { tier = "one" }
'''


@pytest.fixture(scope="module")
def site(engine):
    with Site(TIERS + model(engine) + model(engine, "other")) as s:
        s.start()
        yield s


def at_rest(site):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if site.metric("sluice_reserved") == 0:
            return
        time.sleep(0.05)
    raise AssertionError("something is still reserved")


def storm(n, work):
    """Runs work(i) on n threads at once; the results."""
    out = [None] * n
    start = threading.Barrier(n)

    def run(i):
        start.wait()
        out[i] = work(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def test_room_for_exactly_100_requests(site):
    key = site.key("hundred")
    results = [s for part in storm(64, lambda i: [site.chat(key, max_tokens=2)[0] for _ in range(3)]) for s in part]
    assert results.count(200) == 100 and results.count(429) == 92
    status, headers, data = site.chat(key, max_tokens=2)
    error = json.loads(data)["error"]
    assert status == 429 and error["type"] == "insufficient_quota" and headers["x-should-retry"] == "false"
    assert "100" in error["message"]
    at_rest(site)
    assert sum(r["tenant"] == "hundred" for r in site.usage_rows()) == 100


def test_tokens_with_clients_that_hang_up(site):
    key = site.key("tokens")
    chance = random.Random(7)
    plan = [[chance.random() < 0.3 for _ in range(8)] for _ in range(64)]

    def hang_up(n):
        body = json.dumps({"model": "m", "stream": True, "max_tokens": n, "messages": [{"role": "user", "content": f"n={n} gap=0.002"}]}).encode()
        s = socket.create_connection(("127.0.0.1", site.port), timeout=20)
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer " +
                  key.encode() + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        first = s.recv(200)
        if b" 200 " in first:
            time.sleep(n * 0.001)
        s.close()

    def work(i):
        for leave in plan[i]:
            if leave:
                hang_up(60)
            else:
                site.chat(key, stream=True, max_tokens=60, messages=[{"role": "user", "content": "n=60"}])

    storm(64, work)
    at_rest(site)
    rows = [r for r in site.usage_rows() if r["tenant"] == "tokens"]
    used = sum(r["input_tokens"] + r["output_tokens"] for r in rows)
    assert used <= 20000, "never above"
    assert used > 15000, "and not refused for nothing"
    status, limits = site.admin("GET", "/v1/limits?tenant=tokens")
    assert any("client_closed" in json.dumps(r) for r in rows)


def test_concurrency(site):
    key = site.key("four")
    results = storm(12, lambda i: site.chat(key, max_tokens=5, messages=[{"role": "user", "content": "n=5 gap=0.1"}])[0])
    assert 4 <= results.count(200) < 12 and set(results) <= {200, 429}
    at_rest(site)


def test_money(site):
    key = site.key("poor")
    statuses = [site.chat(key, max_tokens=1000, messages=[{"role": "user", "content": "n=1000"}])[0] for _ in range(6)]
    # 1,000 output tokens at 0.40 a million are 0.0004: two fit into 0.001, a third reservation does not.
    assert statuses[:2] == [200, 200] and set(statuses[2:]) == {429}
    told = json.loads(site.chat(key, max_tokens=1000, messages=[{"role": "user", "content": "n=1000"}])[2])["error"]["message"]
    assert re.search(r"Limit '0.001 cost per month of tier poor' of key slk_\w+ is reached: 0.000\d+ of 0.001 EUR used, "
                     r"0.00 reserved by requests and leases under way, this one needs 0.000\d+. It begins anew at \d{4}-\d\d-01T00:00:00Z.$", told), told


def test_limits_say_what_they_count(site):
    spent, fresh = site.key("counted"), site.key("counted")
    assert site.chat(spent, max_tokens=5)[0] == 200
    rows = site.admin("GET", "/v1/limits?tenant=counted")[1]
    by_metric = {}
    for row in rows:
        by_metric.setdefault(row["metric"], []).append((row["scope"], row["used"], row["max"]))
    prefix = next(k["key"] for k in site.admin("GET", "/v1/keys")[1] if spent.startswith(k["key"]))
    assert by_metric["requests"] == [("each key", None, 7), ("key:" + prefix, 1, 7)]
    assert by_metric["tokens"] == [("tenant:counted", 16, 900)]
    assert by_metric["output_tokens"] == [("each model", None, 800), ("model:m", 5, 800)]
    own = site.admin("GET", "/v1/limits?key=" + prefix)[1]
    assert [(r["scope"], r["used"]) for r in own if r["metric"] == "requests"] == [("key:" + prefix, 1)]
    shown = site.ctl("limits", "--tenant", "counted").stdout
    assert "each key" in shown and "key:" + prefix in shown, shown
    assert site.chat(fresh, max_tokens=5)[0] == 200
    assert len([r for r in site.admin("GET", "/v1/limits?tenant=counted")[1] if r["scope"].startswith("key:")]) == 2


def test_models_and_bound_of_a_tier(site, engine):
    key = site.key("one")
    assert site.chat(key, "other")[0] == 404
    site.chat(key, max_tokens=500)
    assert json.loads(engine.requests[-1][1])["max_tokens"] == 7


def test_headers_move(site):
    key = site.key("hundred", user="headers")
    status, headers, _ = site.chat(key, max_tokens=2)
    assert headers["x-ratelimit-limit-requests"] == "100"


def test_revoked_within_a_second(site):
    key = site.key("one")
    prefix = key[:12]
    assert site.chat(key, max_tokens=2)[0] == 200
    assert site.admin("POST", f"/v1/keys/{prefix}/disable")[0] == 200
    assert [site.chat(key, max_tokens=2)[0] for _ in range(8)] == [401] * 8
    assert site.admin("POST", f"/v1/keys/{prefix}/enable")[0] == 200
    assert site.chat(key, max_tokens=2)[0] == 200


def test_last_use_of_a_key_is_seen(site):
    key = site.key("one", user="last-use")
    mine = lambda: next(k for k in site.admin("GET", "/v1/keys?tenant=one")[1] if k["key"] == key[:12])
    assert mine()["last_used_at"] is None
    assert site.chat(key, max_tokens=2)[0] == 200
    assert mine()["last_used_at"].startswith("20")


def test_counts_survive_a_restart(engine):
    with Site('workers(1)\ntier "five" { requests = { 5, per = "hour" } }\ntenant "five" { tier = "five" }\n' + model(engine)) as s:
        s.start()
        key = s.key("five")
        assert [s.chat(key, max_tokens=2)[0] for _ in range(3)] == [200] * 3
        s.kill()
        s.start()
        assert [s.chat(key, max_tokens=2)[0] for _ in range(3)] == [200, 200, 429]


def test_tenant_that_is_there_keeps_what_is_left_out(site):
    assert site.admin("POST", "/v1/tenants", {"tenant": "kept", "tier": "four", "operators": False})[0] == 201
    assert site.admin("POST", "/v1/tenants", {"tenant": "kept", "queues": []})[0] == 200
    tenant = next(t for t in site.admin("GET", "/v1/tenants")[1] if t["tenant"] == "kept")
    assert tenant["tier"] == "four"


def test_what_runs_as_the_service_administers_nothing(site):
    import os
    import subprocess
    from sluice_site import ROOT
    if os.geteuid() != 0:
        pytest.skip("needs root")
    uid = os.stat(os.path.join(site.folder, "state")).st_uid
    p = subprocess.run([os.path.join(ROOT, "bin", "sluicectl"), "--socket", site.control, "keys", "create", "--tenant", "default"],
                       capture_output=True, text=True, user=uid, cwd="/")
    assert p.returncode == 4, p.stderr


def test_two_limits_on_one_counter_and_a_restart(engine):
    """A key without a user: what is the user's is the tenant's, and counts once, after a restart too."""
    with Site('workers(1)\ntier "both" { tokens = { { 1000, per = "day", scope = "user" }, { 2000, per = "day", scope = "tenant" } } }\n'
              'tenant "both" { tier = "both" }\n' + model(engine)) as s:
        s.start()
        key = s.key("both")
        assert s.chat(key, max_tokens=3)[0] == 200

        def used():
            return [r["used"] for r in s.admin("GET", f"/v1/limits?key={key[:12]}")[1]]

        before = used()
        assert before[0] == before[1] > 0
        s.kill()
        s.start()
        assert used() == before
