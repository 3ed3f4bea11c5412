# SPDX-License-Identifier: Apache-2.0
"""What engines do wrong, and what the client sees of it: words, never a clean end of a broken answer."""
import json
import random
import re
import socket
import time

import openai
import pytest
from conftest import model
from fake_engine import Engine
from sluice_site import Site


def client(site, **more):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.secret, max_retries=0, timeout=30, **more)


def say(site, words, **fields):
    return site.chat(site.secret, messages=[{"role": "user", "content": words}], **fields)


def settle(site, n, seconds=5):
    """Waits until the ledger has more than n rows; the newest."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rows = site.usage_rows()
        if len(rows) > n:
            return rows[0]
        time.sleep(0.05)
    raise AssertionError("no usage row")


@pytest.mark.parametrize("fault", ["reset", "garbage", "cl-te", "big-head", "endless-1xx", "html502"])
def test_broken_before_the_answer(site, fault):
    status, _, data = say(site, f"fault={fault}", max_tokens=5)
    error = json.loads(data)["error"]
    assert status == 502 and error["code"].startswith("upstream_"), data


@pytest.mark.parametrize("odd", [201, 204, 206, 301, 302, 304, 307, 399])
def test_a_status_that_is_no_answer(site, odd):
    status, headers, data = say(site, f"fault=odd status={odd}", max_tokens=5)
    assert status == 502 and json.loads(data)["error"]["code"] == "upstream_protocol", data
    assert "location" not in {name.lower() for name in dict(headers)}


def test_headers_of_the_engine_s_own_stay_inside(site):
    status, headers, _ = say(site, "fault=odd status=400", max_tokens=5)
    names = {name.lower() for name in dict(headers)}
    assert status == 400 and {"openai-version", "cache-control", "content-type"} <= names
    assert not names & {"location", "x-engine-node", "set-cookie"}


@pytest.mark.parametrize("fault", ["fin", "close", "rst", "silence", "huge", "bad-chunk"])
def test_44_broken_in_the_middle(site, fault):
    n = len(site.usage_rows())
    with pytest.raises(openai.APIError) as e:
        for _ in client(site).chat.completions.create(model="m", stream=True, max_tokens=10, messages=[{"role": "user", "content": f"fault={fault} n=5"}]):
            pass
    assert "upstream" in str(e.value.code)
    row = settle(site, n)
    assert row["output_tokens"] >= 2 and row["status"] == 200 and "upstream_error" in json.dumps(row)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_none(site, stream):
    status, _, data = say(site, "fault=no-json", stream=stream)
    assert status == 502 and json.loads(data)["error"]["code"] == "upstream_protocol"


def test_what_came_before_a_bad_chunk_counts(site):
    n = len(site.usage_rows())
    status, _, data = say(site, "fault=bad-chunk together=1 n=5", stream=True, max_tokens=10)
    assert status == 200 and b'"t1 "' in data and b"upstream_protocol" in data, data
    assert settle(site, n)["output_tokens"] >= 2


def test_an_engine_s_own_error_event(site):
    with pytest.raises(openai.APIError):
        for _ in client(site).chat.completions.create(model="m", stream=True, max_tokens=10, messages=[{"role": "user", "content": "fault=error n=5"}]):
            pass


def test_47_no_done_is_added(site):
    status, _, data = say(site, "fault=no-done n=3", stream=True)
    assert status == 200 and data.endswith(b"data: [DONE]\n\n")


def test_cut_plain_answer(site):
    status, _, data = say(site, "fault=short n=3")
    assert status == 502 and json.loads(data)["error"]["code"] == "upstream_error"


@pytest.mark.parametrize("split", [1, 2, 7, 50])
def test_48_cut_at_every_byte(site, split):
    status, _, whole = say(site, "n=4", stream=True, stream_options={"include_usage": True})
    status, _, data = say(site, f"n=4 split={split}", stream=True, stream_options={"include_usage": True})
    # The receipts name each its own request.
    assert status == 200 and re.sub(b"req_[0-9A-Z]+", b"", data) == re.sub(b"req_[0-9A-Z]+", b"", whole)


def test_48_comments_pass(site):
    status, _, data = say(site, "n=3 ping=1", stream=True)
    assert data.count(b": ping\n\n") == 3 and data.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
def test_41_errors_of_the_engine_pass(site, engine, status):
    before = len(engine.requests)
    got, _, data = say(site, f"status={status}")
    assert got == status and json.loads(data)["error"]["message"] == "as asked"
    assert len(engine.requests) == before + 1, "no second try"


def test_42_full_engine(site):
    status, headers, data = say(site, "status=429")
    assert status == 429


def test_43_never_answers(site):
    begin = time.monotonic()
    status, _, data = say(site, "fault=never")
    assert status == 504 and json.loads(data)["error"]["code"] == "upstream_timeout"
    assert 4 < time.monotonic() - begin < 15


def test_49_no_usage_is_counted_by_us(site):
    n = len(site.usage_rows())
    assert say(site, "n=4 usage=none", stream=True)[0] == 200
    row = settle(site, n)
    assert "estimated" in row["flags"] and row["output_tokens"] >= 4 and row["input_tokens"] > 0
    assert say(site, "n=4 usage=negative")[0] == 200
    row = settle(site, n + 1)
    assert row["input_tokens"] >= 0 and row["output_tokens"] >= 0


def test_40_another_replica():
    good, port = Engine(), None
    dead = Engine()
    dead_url = dead.url
    dead.stop()
    dead.server.close()
    config = model(good).replace('endpoints = {', 'endpoints = { { url = "%s" },' % dead_url)
    with Site("workers(1)\n" + config) as s:
        s.start()
        s.secret = s.key()
        for _ in range(3):
            assert say(s, "n=2")[0] == 200
        rows = s.usage_rows()
        assert len(rows) == 3 and {r["status"] for r in rows} == {200}
    good.stop()


def test_52_idle_connection_closed_by_the_engine(site, engine):
    """An engine that closes after each answer costs nobody an error."""
    for _ in range(5):
        status, _, data = say(site, "n=2 fault=no-done", stream=True)
        assert status == 200
        assert say(site, "n=2")[0] == 200


def test_large_answer_passes(site):
    status, _, data = say(site, "n=2 pad=3000000")
    assert status == 200 and len(json.loads(data)["choices"][0]["pad"]) == 3000000
    assert site.usage_rows()[0]["input_tokens"] == 11


def test_client_gone_stops_the_engine(site, engine):
    import http.client
    n, busy = len(site.usage_rows()), engine.open
    c = http.client.HTTPConnection("127.0.0.1", site.port)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "m", "stream": True, "max_tokens": 500, "messages": [
        {"role": "user", "content": "n=500 gap=0.02"}]}), {"authorization": "Bearer " + site.secret, "content-type": "application/json"})
    r = c.getresponse()
    r.read(300)
    c.sock.close()
    r.close()
    row = settle(site, n)
    assert "client_closed" in json.dumps(row) and 1 <= row["output_tokens"] < 400
    time.sleep(0.3)
    assert engine.open == busy


def test_22_client_gone_before_the_answer(site, engine):
    import socket
    n = len(site.usage_rows())
    body = json.dumps({"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": "n=100 gap=0.05"}]}).encode()
    s = socket.create_connection(("127.0.0.1", site.port))
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + site.secret.encode() +
              b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    time.sleep(0.3)
    s.close()
    row = settle(site, n, 2)
    assert row["status"] == 499 and row["input_tokens"] > 0 and "estimated" in json.dumps(row)


def test_22_hanging_up_is_no_way_around_a_limit(engine):
    """What may have been made for those who do not wait is charged: the engine is not asked for more than the limit."""
    tier = 'tier "t" { tokens = { 1000, per = "total", scope = "tenant" } }\ntenant "x" { tier = "t" }\n'
    with Site(model(engine) + tier) as s:
        s.start()
        secret, seen = s.key("x"), len(engine.requests)
        body = json.dumps({"model": "m", "max_tokens": 900, "messages": [{"role": "user", "content": "n=900 gap=0.01"}]}).encode()
        for _ in range(8):
            with socket.create_connection(("127.0.0.1", s.port)) as c:
                c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + secret.encode() +
                          b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                time.sleep(0.15)
            time.sleep(0.1)
        assert len(engine.requests) - seen == 1
        assert s.metric("sluice_reserved") == 0


@pytest.mark.parametrize("usage", ["none", "negative"])
def test_an_estimate_is_within_what_was_asked_for(site, usage):
    n = len(site.usage_rows())
    assert say(site, f"n=1 usage={usage} pad=400", max_tokens=1)[0] == 200
    row = settle(site, n)
    assert row["output_tokens"] == 1 and "estimated" in json.dumps(row)


def read_answer(s, rest):
    """One plain answer of a connection; what came behind it."""
    while b"\r\n\r\n" not in rest:
        piece = s.recv(65536)
        assert piece, rest
        rest += piece
    head, _, rest = rest.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(rest) < length:
        rest += s.recv(65536)
    assert head.startswith(b"HTTP/1.1 200"), head + rest[:300]
    return rest[length:]


def test_large_bodies_on_one_connection(site, engine):
    """Growing, shrinking, in pieces, several in one write, at every place of the reads: each arrives as it was sent."""
    chance = random.Random(1)
    sizes = [20000, 21000, 40000, 41000, 300, 300, 30000, 300000, 310000, 9000, 9100, 9050, 100, 12000, 12000]
    texts = ["".join(chance.choices("abcdefgh \u00e9\n", k=n)) + f" end {i}" for i, n in enumerate(sizes)]
    requests = []
    for text in texts:
        body = json.dumps({"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": text}]}, ensure_ascii=False).encode()
        requests.append(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {site.secret}\r\n"
                        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    seen = len(engine.requests)
    with socket.create_connection(("127.0.0.1", site.port)) as s:
        s.settimeout(20)
        rest = b""
        for r in requests:  # in two pieces, cut anywhere
            cut = chance.randrange(1, len(r))
            s.sendall(r[:cut])
            time.sleep(0.02)
            s.sendall(r[cut:])
            rest = read_answer(s, rest)
        for r in requests:  # at once
            s.sendall(r)
            rest = read_answer(s, rest)
        for i in range(9, len(requests) - 1):  # two at once
            s.sendall(requests[i] + requests[i + 1])
            rest = read_answer(s, read_answer(s, rest))
        assert rest == b""
    expected = texts + texts + [t for i in range(9, len(texts) - 1) for t in texts[i:i + 2]]
    got = [json.loads(body)["messages"][0]["content"] for _, body in engine.requests[seen:]]
    assert got == expected


def test_nothing_is_left_reserved(site):
    time.sleep(0.2)
    assert site.metric("sluice_reserved") == 0
