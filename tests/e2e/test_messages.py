# SPDX-License-Identifier: Apache-2.0
"""Anthropic's doors: passed on where the engine speaks them, translated to chat where it does not. The official client
sees no difference, and neither does the bill."""
import base64
import json
import os
import random
import subprocess
import sys
import time

import anthropic
import pytest
from conftest import node_modules
from door_engine import CACHED, INPUT, DoorEngine
from sluice_site import TOP, Site, free_port
from test_limits import at_rest, storm

PRICE = 'price = { input = "0.10", cached = "0.02", output = "0.40" }'
# native: the engine has all doors. translated: chat alone. embed: neither.
CONFIG = '''
workers(2)
limits {{ body = "2M" }}
tier "tokens" {{ tokens = {{ 3000, per = "day" }} }}
tier "some" {{ requests = {{ 1000, per = "hour" }}, tokens = {{ 100000, per = "minute" }} }}
tier "poor" {{ cost = {{ "0.001", per = "month" }} }}
tier "seven" {{ max_output = 7 }}
tenant "tokens" {{ tier = "tokens" }}
tenant "some" {{ tier = "some" }}
tenant "poor" {{ tier = "poor" }}
tenant "seven" {{ tier = "seven" }}
model "native" {{ engine = "vllm", {shared} }}
model "translated" {{ engine = "openai", {shared} }}
model "embed" {{ engine = "embed", {shared} }}
'''
KINDS = ("native", "translated")
HELLO = [{"role": "user", "content": "hello n=5"}]


@pytest.fixture(scope="module")
def engine():
    e = DoorEngine()
    yield e
    e.stop()


@pytest.fixture(scope="module")
def site(engine):
    shared = f'endpoints = {{ {{ url = "{engine.url}", key = "env:UPSTREAM_KEY", concurrency = 256 }} }}, concurrency = 256, max_output = 4096, ' \
             f'first_byte = "5s", silence = "3s", wait = "5s", {PRICE}'
    s = Site("", env={"UPSTREAM_KEY": "upstream-secret"})
    os.mkdir(os.path.join(s.folder, "engines"))
    s.write("engines/embed.lua", 'return { doors = { "embeddings" } }')
    s.configure(CONFIG.format(shared=shared))
    with s:
        s.start()
        s.secret = s.key()
        yield s


def client(site, key=None, **more):
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{site.port}", api_key=key or site.secret, max_retries=0, **more)


def raw(site, path, body, key=None, headers=None):
    status, headers, data = site.http("POST", path, body, {"x-api-key": key or site.secret, **(headers or {})})
    return status, headers, json.loads(data)


def last_row(site, door):
    return next(r for r in site.usage_rows() if r["door"] == door)


def tokens(row):
    return row["input_tokens"], row["cached_tokens"], row["output_tokens"]


@pytest.mark.parametrize("model", KINDS)
def test_plain(site, engine, model):
    a = client(site).messages.create(model=model, max_tokens=4, system="be brief", stop_sequences=["END"], messages=HELLO)
    assert a.type == "message" and a.role == "assistant" and a.content[0].text == "t0 t1 t2 t3" and a.stop_reason == "end_turn"
    u = a.usage
    assert (u.input_tokens, u.cache_read_input_tokens, u.output_tokens) == (INPUT - CACHED, CACHED, 4)
    row = last_row(site, "messages")
    assert tokens(row) == (INPUT, CACHED, 4) and row["flags"] == [] and row["cost"] == "0.00000296"
    path, doc = engine.docs[-1]
    if model == "native":
        assert path == "/v1/messages" and doc["system"] == "be brief" and doc["stop_sequences"] == ["END"] and "stop" not in doc
    else:
        assert path == "/v1/chat/completions" and doc["stop"] == ["END"] and doc["max_tokens"] == 4
        assert doc["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello n=5"}]


@pytest.mark.parametrize("split", (0, 1, 7))
@pytest.mark.parametrize("model", KINDS)
def test_stream(site, model, split):
    with client(site).messages.stream(model=model, max_tokens=6, messages=[{"role": "user", "content": f"n=6 split={split}"}]) as s:
        kinds = [e.type for e in s]
        m = s.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and "message_delta" in kinds
    assert m.content[0].text == "t0 t1 t2 t3 t4 t5 " and m.stop_reason == "end_turn"
    assert (m.usage.input_tokens, m.usage.cache_read_input_tokens, m.usage.output_tokens) == (INPUT - CACHED, CACHED, 6)
    row = last_row(site, "messages")
    assert tokens(row) == (INPUT, CACHED, 6) and row["flags"] == ["stream"]


TOOLS = [{"name": "weather", "description": "of a city", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]


@pytest.mark.parametrize("stream", (False, True))
@pytest.mark.parametrize("model", KINDS)
def test_tools(site, engine, model, stream):
    ask = dict(model=model, max_tokens=50, tools=TOOLS, tool_choice={"type": "any", "disable_parallel_tool_use": True},
               messages=[{"role": "user", "content": "tool=weather n=9"}])
    if stream:
        with client(site).messages.stream(**ask) as s:
            m = s.get_final_message()
    else:
        m = client(site).messages.create(**ask)
    assert m.stop_reason == "tool_use" and m.content[0].type == "tool_use"
    assert m.content[0].name == "weather" and m.content[0].input == {"city": "Bern"}
    doc = engine.docs[-1][1]
    if model == "translated":
        assert doc["tool_choice"] == "required" and doc["parallel_tool_calls"] is False
        assert doc["tools"] == [{"type": "function", "function": {"name": "weather", "description": "of a city",
                                                                  "parameters": TOOLS[0]["input_schema"]}}]
    # The next turn brings the tool's result.
    turn = ask["messages"] + [{"role": "assistant", "content": m.content}, {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": m.content[0].id, "content": "21 C"}, {"type": "text", "text": "n=3"}]}]
    client(site).messages.create(model=model, max_tokens=50, tools=TOOLS, messages=turn)
    doc = engine.docs[-1][1]
    if model == "translated":
        assert doc["messages"][1]["tool_calls"][0]["id"] == m.content[0].id
        assert json.loads(doc["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"city": "Bern"}
        assert doc["messages"][2] == {"role": "tool", "tool_call_id": m.content[0].id, "content": "21 C"}
        assert doc["messages"][3] == {"role": "user", "content": "n=3"}


@pytest.mark.parametrize("model", KINDS)
def test_image(site, engine, model):
    data = base64.b64encode(b"\x89PNG not really").decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    client(site).messages.create(model=model, max_tokens=4, messages=[{"role": "user", "content": [
        {"type": "image", "source": source}, {"type": "text", "text": "what is it?"}]}])
    doc = engine.docs[-1][1]
    if model == "translated":
        assert doc["messages"][0]["content"][0] == {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}}
    else:
        assert doc["messages"][0]["content"][0]["source"] == source


@pytest.mark.parametrize("model", KINDS)
def test_count_tokens(site, engine, model):
    assert client(site).messages.count_tokens(model=model, system="be brief", tools=TOOLS, messages=HELLO).input_tokens == INPUT
    row = last_row(site, "count_tokens")
    # A server that can only count by answering reads the prompt, and says one token.
    assert tokens(row) == ((0, 0, 0) if model == "native" else (INPUT, CACHED, 1)) and row["flags"] == []
    assert engine.docs[-1][0] == ("/v1/messages/count_tokens" if model == "native" else "/v1/chat/completions")


def test_thinking_and_stop_sequence_are_translated(site):
    with client(site).messages.stream(model="translated", max_tokens=6, messages=[{"role": "user", "content": "n=2 think=1"}]) as s:
        m = s.get_final_message()
    assert [b.type for b in m.content] == ["thinking", "text"] and m.content[0].thinking == "hm"
    m = client(site).messages.create(model="translated", max_tokens=6, messages=[{"role": "user", "content": "n=2 stopped=END"}])
    assert m.stop_reason == "stop_sequence" and m.stop_sequence == "END"
    m = client(site).messages.create(model="translated", max_tokens=6, messages=[{"role": "user", "content": "n=2 finish=length"}])
    assert m.stop_reason == "max_tokens"


@pytest.mark.parametrize("model", KINDS)
def test_heads(site, engine, model):
    key = site.key("some")
    a = client(site, key).messages.with_raw_response.create(model=model, max_tokens=4, messages=HELLO)
    h = a.headers
    assert h["request-id"].startswith("req_") and h["request-id"] == h["x-request-id"]
    assert h["anthropic-ratelimit-requests-limit"] == "1000" and int(h["anthropic-ratelimit-requests-remaining"]) < 1000
    assert h["anthropic-ratelimit-tokens-limit"] == "100000"
    assert time.strptime(h["anthropic-ratelimit-tokens-reset"], "%Y-%m-%dT%H:%M:%SZ")
    assert not any(n.startswith("x-ratelimit-") for n in h)
    head = engine.requests[-1][0].lower()
    assert b"authorization: bearer upstream-secret" in head
    assert (b"x-api-key: upstream-secret" in head and b"anthropic-version: 2026-10-21" in head) == (model == "native")


def test_versions(site, engine):
    body = {"model": "native", "max_tokens": 4, "messages": HELLO}
    for version, passed in ((None, b"2023-06-01"), ("2023-06-01", b"2023-06-01"), ("2026-10-21", b"2026-10-21")):
        assert raw(site, "/v1/messages", body, headers={"anthropic-version": version} if version else {})[0] == 200
        assert b"anthropic-version: " + passed in engine.requests[-1][0].lower()
    status, _, error = raw(site, "/v1/messages", body, headers={"anthropic-version": "2024-10-22"})
    assert status == 400 and error["type"] == "error" and error["error"]["code"] == "unknown_version"


def test_errors_are_anthropics(site):
    with pytest.raises(anthropic.NotFoundError) as e:
        client(site).messages.create(model="nope", max_tokens=4, messages=HELLO)
    assert e.value.body["type"] == "error" and e.value.body["error"]["type"] == "not_found_error"
    assert e.value.body["request_id"] == e.value.request_id and e.value.request_id.startswith("req_")
    with pytest.raises(anthropic.AuthenticationError) as e:
        client(site, "slk_wrong").messages.create(model="native", max_tokens=4, messages=HELLO)
    assert e.value.body["error"]["type"] == "authentication_error"
    with pytest.raises(anthropic.RateLimitError) as e:
        client(site, site.key("poor")).messages.create(model="native", max_tokens=4000, messages=HELLO)
    assert e.value.body["error"]["type"] == "rate_limit_error" and e.value.body["error"]["code"] == "insufficient_quota"
    assert e.value.response.headers["x-should-retry"] == "false"
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        status, headers, error = raw(site, path, {"model": "embed", "max_tokens": 4, "messages": HELLO})
        assert (status, error["error"]["type"], error["error"]["code"]) == (404, "not_found_error", "unsupported_endpoint")
    status, headers, data = site.http("GET", "/v1/messages")
    assert status == 405 and headers["allow"] == "POST" and json.loads(data)["type"] == "error"
    status, headers, data = site.http("POST", "/v1/messages/batches", {}, {"x-api-key": site.secret})
    assert status == 404 and json.loads(data)["error"]["type"] == "not_found_error" and headers["request-id"]


@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize("status,kind", ((400, "invalid_request_error"), (404, "not_found_error"), (422, "invalid_request_error"),
                                         (500, "api_error")))
def test_engines_errors_are_put_into_anthropics_words(site, model, status, kind):
    got, headers, error = raw(site, "/v1/messages", {"model": model, "max_tokens": 4, "messages": [
        {"role": "user", "content": f"status={status}"}]})
    assert got == status and error["type"] == "error" and error["error"]["type"] == kind and error["error"]["message"] == "as asked"
    assert headers["content-type"] == "application/json"


def body(**fields):
    b = {"model": "native", "max_tokens": 4, "messages": HELLO, **fields}
    return {k: v for k, v in b.items() if v is not ...}


def said(*blocks, role="user"):
    return [{"role": "user", "content": "x"}] * (role == "assistant") + [{"role": role, "content": list(blocks)}]


WRONG = {  # at either kind of engine
    "no model": body(model=...), "no bound": body(max_tokens=...), "no messages": body(messages=...),
    "bound of null": body(max_tokens=None), "bound of 0": body(max_tokens=0), "bound of text": body(max_tokens="4"),
    "bound of 1.5": body(max_tokens=1.5), "messages of text": body(messages="hi"), "messages of an object": body(messages={}),
    "no message": body(messages=[]), "system of a number": body(system=5), "system of an object": body(system={}),
    "stream of text": body(stream="yes"), "tools of an object": body(tools={}), "model of a number": body(model=5),
}
WRONG_INSIDE = {  # what only the translation looks at
    "message of a number": body(messages=[5]), "no role": body(messages=[{"content": "x"}]), "role": body(messages=[{"role": "tool", "content": "x"}]),
    "content of a number": body(messages=[{"role": "user", "content": 5}]), "no content": body(messages=[{"role": "user"}]),
    "content of null": body(messages=[{"role": "user", "content": None}]), "empty content": body(messages=said()),
    "block of a number": body(messages=said(5)), "block without type": body(messages=said({"text": "x"})),
    "unknown block": body(messages=said({"type": "hologram"})), "text without text": body(messages=said({"type": "text"})),
    "image without source": body(messages=said({"type": "image"})),
    "image of a file": body(messages=said({"type": "image", "source": {"type": "file", "file_id": "f"}})),
    "image that is none": body(messages=said({"type": "image", "source": {"type": "base64", "media_type": "text/html", "data": "x"}})),
    "pdf": body(messages=said({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "x"}})),
    "result without id": body(messages=said({"type": "tool_result", "content": "x"})),
    "result in a result": body(messages=said({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_result", "tool_use_id": "b"}]})),
    "result of a number": body(messages=said({"type": "tool_result", "tool_use_id": "a", "content": 5})),
    "call without input": body(messages=said({"type": "tool_use", "id": "a", "name": "b"}, role="assistant")),
    "image of the model's": body(messages=said({"type": "image", "source": {"type": "url", "url": "x"}}, role="assistant")),
    "system of images": body(system=[{"type": "image"}]), "temperature of text": body(temperature="hot"),
    "stops of text": body(stop_sequences="END"), "stops of numbers": body(stop_sequences=[5]),
    "tool of a number": body(tools=[5]), "tool without schema": body(tools=[{"name": "x"}]),
    "a server's tool": body(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    "choice": body(tool_choice={"type": "maybe"}), "choice without name": body(tool_choice={"type": "tool"}), "choice of text": body(tool_choice="auto"),
    "format": body(output_config={"format": {"type": "xml"}}), "mcp": body(mcp_servers=[{"url": "http://x"}]),
    "twice": b'{"model":"translated","max_tokens":4,"messages":[{"role":"user","role":"system","content":"x"}]}',
    "half a character": b'{"model":"translated","max_tokens":4,"messages":[{"role":"user","content":"\\ud800"}]}',
}


def refused(site, b):
    status, headers, data = site.http("POST", "/v1/messages", b, {"x-api-key": site.secret, "content-type": "application/json"})
    error = json.loads(data)
    assert status == 400, (status, error)
    assert error["type"] == "error" and error["error"]["type"] == "invalid_request_error" and error["error"]["message"]
    assert error["request_id"] == headers["request-id"]


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("model", KINDS)
def test_wrong_shapes(site, name, model):
    b = dict(WRONG[name])
    if isinstance(b.get("model"), str):
        b["model"] = model
    refused(site, b)


@pytest.mark.parametrize("name", WRONG_INSIDE)
def test_wrong_shapes_that_cannot_be_translated(site, engine, name):
    b = WRONG_INSIDE[name]
    before = len(engine.docs)
    refused(site, dict(b, model="translated") if isinstance(b, dict) else b)
    assert len(engine.docs) == before, "the engine has not seen it"
    assert site.metric("sluice_reserved") == 0


def test_engine_that_breaks_on_a_wrong_shape_is_not_to_blame(site):
    """Some answer 500 to what is the client's fault."""
    refused(site, body(messages=[{"role": "user", "content": [5, {"type": "text", "text": "status=500"}]}]))


def test_what_belongs_to_other_doors_does_not_reach_the_engine(site, engine):
    extra = {"n": 5, "best_of": 5, "max_completion_tokens": 9999, "max_output_tokens": 9999, "stream_options": {}, "prompt": "x", "input": "x",
             "cache_salt": "x", "priority": -5, "kv_transfer_params": {}}
    assert raw(site, "/v1/messages", body(temperature=0.7, **extra))[0] == 200
    assert set(engine.docs[-1][1]) == {"model", "max_tokens", "messages", "temperature"}
    assert raw(site, "/v1/messages", body(model="translated", temperature=0.7, top_k=3, **extra))[0] == 200
    assert engine.docs[-1][1]["temperature"] == 0.7
    assert set(engine.docs[-1][1]) == {"model", "max_tokens", "messages", "temperature", "top_k"}


@pytest.mark.parametrize("model", KINDS)
def test_bound_is_clamped(site, engine, model):
    a = client(site, site.key("seven")).messages.create(model=model, max_tokens=500, messages=[{"role": "user", "content": "n=100"}])
    assert a.usage.output_tokens == 7 and engine.docs[-1][1]["max_tokens"] == 7


@pytest.mark.parametrize("fault", ("cut", "fin", "error"))
@pytest.mark.parametrize("model", KINDS)
def test_failure_inside_of_a_stream(site, model, fault):
    with pytest.raises(anthropic.APIStatusError) as e:
        with client(site).messages.stream(model=model, max_tokens=9, messages=[{"role": "user", "content": f"n=9 gap=0.02 fault={fault}"}]) as s:
            for _ in s:
                pass
    assert e.value.body["type"] == "error" and e.value.body["error"]["type"] == "api_error" and e.value.body["request_id"]
    row = last_row(site, "messages")
    assert row["output_tokens"] <= 4 and "upstream_error" in row["flags"]
    at_rest(site)


def test_error_that_is_not_in_anthropics_words(site):
    status, _, data = site.http("POST", "/v1/messages", body(stream=True, messages=[{"role": "user", "content": "fault=bare-error"}]),
                                {"x-api-key": site.secret})
    events = [e for e in data.decode().rstrip().split("\n\n") if not e.startswith(": sluice-receipt")]
    assert events[-1].startswith('event: error\ndata: {"type":"error","error":{"type":"api_error","message":"engine broke"')


@pytest.mark.parametrize("model", KINDS)
def test_hang_up_stops_the_engine_and_pays_for_what_came(site, engine, model):
    cancelled = engine.cancelled
    with client(site).messages.stream(model=model, max_tokens=500, messages=[{"role": "user", "content": "n=500 gap=0.01"}]) as s:
        for i, e in enumerate(s):
            if i == 12:
                break
    end = time.monotonic() + 5
    while engine.cancelled == cancelled and time.monotonic() < end:
        time.sleep(0.02)
    assert engine.cancelled > cancelled
    at_rest(site)
    row = last_row(site, "messages")
    assert row["status"] == 499 or "client_closed" in row["flags"]
    assert 3 <= row["output_tokens"] < 100 and row["input_tokens"] > 0


def test_limits_hold_over_both_dialects(site, engine):
    """Truth at the engine never passes the tenant's tokens, whatever the door; nothing is reserved at rest."""
    key = site.key("tokens")
    engine.truth = [0, 0]
    mix = random.Random(7)
    plans = [(mix.choice(KINDS), mix.random() < 0.6, mix.random() < 0.3, mix.random() < 0.3) for _ in range(120)]

    def work(i):
        model, stream, chat, hang_up = plans[i]
        b = {"model": model, "max_tokens": 40, "stream": stream, "messages": [{"role": "user", "content": "n=30 gap=0.002"}]}
        try:
            return site.http("POST", "/v1/chat/completions" if chat else "/v1/messages", b, {"authorization": "Bearer " + key},
                             timeout=0.03 if hang_up else 30)[0]
        except OSError:
            return 0

    got = storm(len(plans), work)
    at_rest(site)
    assert set(got) <= {0, 200, 429} and 200 in got and 429 in got
    assert sum(engine.truth) <= 3000
    rows = [r for r in site.usage_rows() if r["tenant"] == "tokens"]
    billed = sum(r["input_tokens"] + r["output_tokens"] for r in rows)
    assert billed <= 3000 and len(rows) >= got.count(200)
    whole = [r for r in rows if r["status"] == 200 and "estimated" not in r["flags"] and "client_closed" not in r["flags"]]
    assert all(tokens(r) == (INPUT, CACHED, 30) for r in whole) and len(whole) >= got.count(200)


@pytest.mark.parametrize("model", KINDS)
def test_prompts_that_begin_alike_are_known(site, model):
    """What the engine is believed to hold: the same system and messages are, the same messages behind another system not."""
    def predicted(system):
        before = site.metric("sluice_prefix_tokens_total", model=model, source="predicted")
        client(site).messages.create(model=model, max_tokens=4, system=system, messages=[{"role": "user", "content": "the same words " * 60}])
        return site.metric("sluice_prefix_tokens_total", model=model, source="predicted") - before

    systems = [f"{model} first " + "a long system prompt " * 30 + end for end in ("A", "B")]
    assert predicted(systems[0]) == 0
    assert predicted(systems[0]) > INPUT / 2
    # They differ in their last byte alone: what is before is known, the messages behind are not.
    assert 0 < predicted(systems[1]) < INPUT * 0.6
    assert predicted(f"{model} other " + systems[0]) == 0


def test_tools_are_part_of_the_bound(site):
    """A tool's description is read by the model, so its bytes are reserved."""
    big = [dict(TOOLS[0], description="x" * 3000)]
    for path, tools in (("/v1/messages", big), ("/v1/chat/completions", [{"type": "function", "function": {"name": "x", "description": "x" * 3000}}])):
        tenant = "reserve" + path[-4:]
        assert site.admin("POST", "/v1/tenants", {"tenant": tenant, "tier": "tokens"})[0] in (200, 201)
        status, _, error = raw(site, path, {"model": "native", "max_tokens": 5, "messages": HELLO, "tools": tools}, site.key(tenant))
        assert status == 429, (path, error)


def test_pipelined_errors_keep_to_their_doors(site):
    """Two requests on one connection: each is refused in its own door's words."""
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    for path, anthropic_shape in (("/v1/messages", True), ("/v1/chat/completions", False), ("/v1/messages", True)):
        c.request("POST", path, "{}", {"x-api-key": site.secret, "content-type": "application/json"})
        r = c.getresponse()
        error = json.loads(r.read())
        assert r.status == 400 and ("type" in error) == anthropic_shape
    c.close()


NODE = """
import Anthropic from '@anthropic-ai/sdk';
const c = new Anthropic({ baseURL: process.argv[2], apiKey: process.argv[3], maxRetries: 0 });
const out = {};
for (const model of ['native', 'translated']) {
  const plain = await c.messages.create({ model, max_tokens: 4, messages: [{ role: 'user', content: 'hello' }] });
  const stream = c.messages.stream({ model, max_tokens: 4, messages: [{ role: 'user', content: 'hello' }] });
  const final = await stream.finalMessage();
  let broke = '';
  try {
    for await (const e of c.messages.stream({ model, max_tokens: 9, messages: [{ role: 'user', content: 'n=9 gap=0.02 fault=fin' }] })) ;
  } catch (e) { broke = e.error?.error?.type ?? e.message; }
  let refused = '';
  try { await c.messages.create({ model: 'nope', max_tokens: 4, messages: [] }); } catch (e) { refused = e.error?.error?.type; }
  const count = await c.messages.countTokens({ model, messages: [{ role: 'user', content: 'hello' }] });
  out[model] = { plain: plain.content[0].text, text: final.content[0].text, output: final.usage.output_tokens, broke, refused, count: count.input_tokens };
}
console.log(JSON.stringify(out));
"""


def test_node(site):
    where = os.path.dirname(os.path.dirname(node_modules("@anthropic-ai/sdk")))
    script = os.path.join(os.path.dirname(where), f"anthropic-{os.getpid()}.mjs")
    with open(script, "w") as f:
        f.write(NODE)
    try:
        p = subprocess.run(["node", script, f"http://127.0.0.1:{site.port}", site.secret], capture_output=True, text=True, timeout=60)
    finally:
        os.unlink(script)
    assert p.returncode == 0, p.stderr
    for got in json.loads(p.stdout).values():
        assert got == {"plain": "t0 t1 t2 t3", "text": "t0 t1 t2 t3 ", "output": 4, "broke": "api_error", "refused": "invalid_request_error",
                       "count": INPUT}


def test_real_engine(tiny):
    """llama.cpp's own server: streams are translated, whole answers and counts can be passed on too."""
    port = free_port()
    server = subprocess.Popen([sys.executable, os.path.join(TOP, "examples", "quickstart", "llama_server.py"), "-m", tiny, "--port", str(port),
                               "--alias", "tiny"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        s = Site("")
        os.mkdir(os.path.join(s.folder, "engines"))
        s.write("engines/own.lua", 'return { usage_option = true, doors = { "chat", "messages", "count_tokens" } }')
        s.configure("".join(f'model "{name}" {{ engine = "{kind}", served_name = "tiny", max_output = 64, wait = "20s", '
                            f'endpoints = {{ "http://127.0.0.1:{port}" }} }}\n' for name, kind in (("a", "llamacpp"), ("b", "own"))))
        with s:
            s.start()
            s.secret = s.key()
            c = client(s)
            end = time.monotonic() + 30
            while s.chat(s.secret, model="a", max_tokens=1)[0] != 200 and time.monotonic() < end:
                time.sleep(0.1)  # it loads
            for name in ("a", "b"):
                m = c.messages.create(model=name, max_tokens=5, system="be brief", messages=HELLO)
                assert m.usage.output_tokens == 5 and m.stop_reason == "max_tokens" and m.content[0].type == "text"
                whole = m.usage.input_tokens + (m.usage.cache_read_input_tokens or 0)
                assert tokens(last_row(s, "messages"))[::2] == (whole, 5)
                assert c.messages.count_tokens(model=name, system="be brief", messages=HELLO).input_tokens == whole
            with c.messages.stream(model="a", max_tokens=6, system="be brief", messages=HELLO) as stream:
                m = stream.get_final_message()
            assert m.usage.output_tokens == 6 and m.usage.input_tokens + m.usage.cache_read_input_tokens == whole
            assert tokens(last_row(s, "messages"))[::2] == (whole, 6)
    finally:
        server.kill()
        server.wait()
