# SPDX-License-Identifier: Apache-2.0
"""What callers of the inference door may know of themselves: who they are, what is left, what they used; and nothing of
anybody else."""
import json
import os
import socket
import sqlite3
import threading
import time
from decimal import Decimal

import pytest
from fake_engine import Engine
from issuer import Issuer
from sluice_site import ROOT, Site

FIGURES = ("requests", "input_tokens", "cached_tokens", "output_tokens", "cost")


def config(engine):
    return f'''
workers(2)
model "m" {{ endpoints = {{ "{engine.url}" }}, price = {{ input = 0.10, cached = 0.02, output = "0.400001" }} }}
model "big" {{ endpoints = {{ "{engine.url}" }}, price = {{ input = 1, output = 2 }} }}
tier "default" {{ }}
tier "two" {{ models = {{ "m" }}, requests = {{ 2, per = "day" }} }}
tier "poor" {{ cost = {{ "0.00002", per = "month" }} }}
tenant "physics" {{ }}
tenant "chem" {{ tier = "two" }}
tenant "poor" {{ tier = "poor" }}
tier "rich" {{ cost = {{ 5, per = "month" }} }}
tenant "rich" {{ tier = "rich" }}
'''


@pytest.fixture(scope="module")
def site():
    engine = Engine()
    with Site(config(engine)) as s:
        s.start()
        yield s
    engine.stop()


def get(s, key, path, method="GET"):
    status, headers, body = s.http(method, path, headers={"authorization": "Bearer " + key} if key else {})
    return status, json.loads(body) if body else None, headers


def chat(s, key, **fields):
    status, headers, body = s.chat(key, **fields)
    assert status == 200, body
    return headers["x-request-id"]


def test_me(site):
    key = site.key("chem", user="ann")
    chat(site, key)
    status, me, headers = get(site, key, "/v1/me")
    assert status == 200 and headers["x-request-id"].startswith("req_")
    assert (me["object"], me["tenant"], me["user"], me["tier"]) == ("me", "chem", "ann", "two")
    assert key.startswith(me["key"]) and key not in json.dumps(me)
    assert me["models"] == [{"id": "m", "price": {"input": "0.10", "cached": "0.02", "output": "0.400001"}}]
    limit, = me["limits"]
    assert (limit["metric"], limit["window"], limit["used"], limit["max"]) == ("requests", "day", 1, 2)
    assert get(site, None, "/v1/me")[0] == 401 and get(site, "slk_wrong", "/v1/me")[0] == 401
    assert get(site, key, "/v1/me", "POST")[0] == 405
    assert site.http("HEAD", "/v1/me", headers={"authorization": "Bearer " + key})[2] == b""


def test_own_use(site):
    first, second = site.key("physics", user="ann"), site.key("physics", user="ann")
    other = site.key("physics", user="bob")
    for key, times in ((first, 3), (second, 2), (other, 1)):
        for i in range(times):
            chat(site, key, model="big" if i == 2 else "m")
    status, use, _ = get(site, first, "/v1/usage")
    assert status == 200 and use["scope"] == "key" and use["currency"]
    assert [(r["day"], r["model"], r["requests"]) for r in use["rows"]] == \
        [(time.strftime("%Y-%m-%d", time.gmtime()), "big", 1), (time.strftime("%Y-%m-%d", time.gmtime()), "m", 2)]
    # It is the same bill as the operator's, to the last digit.
    bill = site.admin("GET", "/v1/usage?by=key")[1]["rows"]
    mine, = (r for r in bill if first.startswith(r["key"]))
    assert {x: use["total"][x] for x in FIGURES} == {x: mine[x] for x in FIGURES}
    assert sum(Decimal(r["cost"]) for r in use["rows"]) == Decimal(use["total"]["cost"]) > 0
    assert get(site, first, "/v1/usage?scope=user")[1]["total"]["requests"] == 5
    assert len(get(site, first, "/v1/usage?scope=user&by=key")[1]["rows"]) == 2
    assert get(site, first, "/v1/usage?model=big&by=hour")[1]["total"]["requests"] == 1
    assert get(site, first, "/v1/usage?scope=tenant")[0] == 403
    for wrong in ("by=tenant", "by=x", "scope=x", "since=x", "since=2020-01-01", "since=2026-01-02&until=2026-01-01", "by=" + "x" * 600):
        status, answer, _ = get(site, first, "/v1/usage?" + wrong)
        assert status == 400 and answer["error"]["code"].startswith("invalid_"), wrong
    assert get(site, None, "/v1/usage")[0] == 401


def test_one_request(site):
    ann, bob, chem = site.key("physics", user="ann"), site.key("physics", user="bob"), site.key("chem")
    request = chat(site, ann, stream=True)
    status, mine, _ = get(site, ann, "/v1/usage/" + request)
    assert status == 200 and mine["object"] == "usage.request" and mine["request_id"] == request
    assert mine["status"] == 200 and mine["flags"] == ["stream"] and Decimal(mine["cost"]) > 0
    # Whoever else asks hears what is said of an id that never was.
    never = get(site, chem, "/v1/usage/" + request[:-4] + "0000")
    words = {k: v for k, v in never[1]["error"].items() if k != "request_id"}
    assert never[0] == 404
    for key, id in ((chem, request), (bob, request), (ann, "req_0"), (ann, "x" * 300), (ann, "%00"), (ann, request.lower())):
        status, answer, _ = get(site, key, "/v1/usage/" + id)
        assert status == 404 and {k: v for k, v in answer["error"].items() if k != "request_id"} == words, id
    assert get(site, ann, "/v1/usage/")[0] == 404


@pytest.mark.skipif(not os.path.exists(os.path.join(ROOT, "lib", "sluice", "plugins", "auth", "jwt.so")), reason="auth/jwt was not built")
def test_the_tenants_use_for_who_may_see_it():
    """People with tokens: one who may only infer, one who may also ask for leases and so use the control door."""
    engine, issuer = Engine(), Issuer()
    with Site(config(engine) + f'''
plugin "auth/jwt" {{ issuer = "{issuer.url}", audience = "sluice", tenant_claim = "org",
  roles = {{ ["call"] = "infer", ["lead"] = {{ "infer", "lease" }} }} }}
plugin "auth/keys" {{}}
plugin "auth/peercred" {{}}
''') as s:
        s.start()
        member, lead = (issuer.token(org="physics", sub=name, scope=scope) for name, scope in (("ann", "call"), ("eve", "lead")))
        other = issuer.token(org="chem", sub="ann", scope="lead")
        request = chat(s, member)
        chat(s, s.key("physics"))
        chat(s, other)
        assert get(s, member, "/v1/me")[1]["key"] is None and get(s, member, "/v1/me")[1]["user"] == "ann"
        use = get(s, member, "/v1/usage")[1]
        assert use["scope"] == "user" and use["total"]["requests"] == 1
        assert get(s, member, "/v1/usage?scope=tenant")[0] == 403 and get(s, member, "/v1/usage?scope=key")[0] == 400
        assert get(s, lead, "/v1/usage")[1]["total"]["requests"] == 0
        use = get(s, lead, "/v1/usage?scope=tenant&by=user")[1]
        assert {r["user"]: r["requests"] for r in use["rows"]} == {"": 1, "ann": 1} and use["total"]["requests"] == 2
        assert get(s, lead, "/v1/usage/" + request)[1]["user"] == "ann"
        assert get(s, other, "/v1/usage/" + request)[0] == 404
    issuer.stop()
    engine.stop()


def test_a_spent_budget_can_still_be_read(site):
    key = site.key("poor")
    statuses = [site.chat(key, max_tokens=1)[0] for _ in range(20)]
    assert statuses[0] == 200 and statuses[-1] == 429
    assert get(site, key, "/v1/me")[0] == 200
    status, use, _ = get(site, key, "/v1/usage")
    assert status == 200 and use["total"]["requests"] == statuses.count(200)


def receipt(text):
    fields = dict(f.split("=", 1) if "=" in f else (f, "true") for f in text.split(", "))
    return {k: v.strip('"') for k, v in fields.items()}


def test_receipts(site):
    """What an answer says of itself is what stands in the ledger."""
    key = site.key("rich")
    spent = Decimal(0)
    for stream in (False, True, False, True):
        status, headers, body = site.chat(key, stream=stream)
        assert status == 200
        comment, = [line for line in body.decode().split("\n") if line.startswith(": sluice-receipt: ")] if stream else [None]
        told = receipt(comment.split(": ", 2)[2] if stream else headers["sluice-receipt"])
        assert ("sluice-receipt" in headers) != stream and body.endswith(b"data: [DONE]\n\n") == stream
        record = get(site, key, "/v1/usage/" + headers["x-request-id"])[1]
        assert told["id"] == headers["x-request-id"] and told["currency"] == "EUR"
        assert [told[x] for x in ("input", "cached", "output", "cost")] == \
            [str(record[x]) for x in ("input_tokens", "cached_tokens", "output_tokens", "cost")] and Decimal(told["cost"]) > 0
        assert ("estimated" in told) == ("estimated" in record["flags"])
        spent += Decimal(record["cost"])
        assert Decimal(told["left"]) == Decimal("5.00") - spent
    # What was refused cost nothing, and says what is left.
    status, headers, _ = site.chat(key, model="none")
    assert status == 404 and receipt(headers["sluice-receipt"])["cost"] == "0.00"
    poor = site.key("poor")
    while site.chat(poor, max_tokens=1)[0] == 200:
        pass
    status, headers, _ = site.chat(poor, max_tokens=1)
    told = receipt(headers["sluice-receipt"])
    assert status == 429 and told["cost"] == "0.00" and Decimal(told["left"]) < Decimal("0.00002")
    # A client without a budget has nothing left to speak of.
    assert "left" not in receipt(site.chat(site.key("physics"))[1]["sluice-receipt"])
    assert "sluice-receipt" not in get(site, key, "/v1/models")[2]


@pytest.mark.parametrize("stream", [False, True])
def test_receipts_at_the_other_doors(site, stream):
    key = site.key("physics")
    doors = {
        "messages": ({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}, "event: message_stop"),
        "completions": ({"prompt": "hello"}, "data: [DONE]"),
    }
    for door, (body, last) in doors.items():
        status, headers, data = site.http("POST", "/v1/" + door, {"model": "m", "stream": stream, **body},
                                          {"authorization": "Bearer " + key, "anthropic-version": "2023-06-01"})
        text = data.decode()
        assert status == 200, text
        told = receipt(text.split(": sluice-receipt: ")[1].split("\n")[0] if stream else headers["sluice-receipt"])
        record = get(site, key, "/v1/usage/" + told["id"])[1]
        assert (told["input"], told["output"], told["cost"]) == \
            (str(record["input_tokens"]), str(record["output_tokens"]), record["cost"]) and record["door"] == door
        assert not stream or text.index("sluice-receipt") < text.index(last), "it stands before the word that ends it"


def test_receipt_of_a_stream_that_breaks(site):
    key = site.key("physics")
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "n=9 fault=fin"}]}
    status, headers, data = site.http("POST", "/v1/chat/completions", body, {"authorization": "Bearer " + key})
    text = data.decode()
    assert status == 200 and '"error"' in text and "[DONE]" not in text
    told = receipt(text.split(": sluice-receipt: ")[1].split("\n")[0])
    record = get(site, key, "/v1/usage/" + headers["x-request-id"])[1]
    assert (told["output"], told["cost"]) == (str(record["output_tokens"]), record["cost"]) and "upstream_error" in record["flags"]


def test_a_store_that_hangs_holds_no_worker_up(site):
    """The ledger's thread waits for a file that somebody else holds: requests go on, and questions end with words."""
    key = site.key("physics")
    db = sqlite3.connect(f"{site.folder}/state/sluice.db", timeout=10, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(get(site, key, "/v1/usage")[0])) for _ in range(40)]
    try:
        chat(site, key)  # something that the store lacks, so questions wait
        for t in threads:
            t.start()
        time.sleep(0.5)
        assert answers and set(answers) == {503}, "what is above the bound is refused at once"
        for _ in range(5):
            chat(site, key)
    finally:
        db.execute("ROLLBACK")
        db.close()
    for t in threads:
        t.join(30)
    assert sorted(set(answers)) == [200, 503] and 0 < answers.count(200) <= 32
    assert get(site, key, "/v1/usage")[1]["total"]["requests"] == 6


def test_clients_that_do_not_wait(site):
    """They hang up while the ledger is asked, and while sluiced ends."""
    key = site.key("physics")
    db = sqlite3.connect(f"{site.folder}/state/sluice.db", timeout=10, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    chat(site, key)
    sockets = []
    for _ in range(10):
        s = socket.create_connection(("127.0.0.1", site.port))
        s.sendall(f"GET /v1/usage HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n".encode())
        sockets.append(s)
    time.sleep(0.2)
    for s in sockets[:5]:
        s.close()
    db.execute("ROLLBACK")
    db.close()
    for s in sockets[5:]:
        assert s.recv(4096).startswith(b"HTTP/1.1 200")
        s.close()
    assert get(site, key, "/v1/usage")[0] == 200
    assert site.metric("sluice_requests_total", status="499") == 0


def test_the_end_while_the_store_hangs():
    """Questions that nobody could answer end with words, and sluiced ends with them."""
    engine = Engine()
    with Site(config(engine) + 'drain "200ms"\nplugin "store/sqlite" { busy_timeout = "100ms" }\n') as s:
        s.start()
        key = s.key("physics")
        db = sqlite3.connect(f"{s.folder}/state/sluice.db", timeout=10, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        chat(s, key)
        sockets = []
        for _ in range(6):
            c = socket.create_connection(("127.0.0.1", s.port))
            c.sendall(f"GET /v1/usage HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n".encode())
            sockets.append(c)
        time.sleep(0.2)
        for c in sockets[:2]:
            c.close()
        assert s.stop() == 0
        assert all(c.recv(4096).startswith(b"HTTP/1.1 503") for c in sockets[2:])
        db.execute("ROLLBACK")
        db.close()
        s.start()
        assert get(s, key, "/v1/usage")[1]["total"]["requests"] == 1, "the journal had it"
    engine.stop()
