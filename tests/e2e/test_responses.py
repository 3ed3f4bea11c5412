# SPDX-License-Identifier: Apache-2.0
"""responses, rerank and score: passed on to engines that have them, metered like the rest, refused elsewhere."""
import json
import time

import openai
import pytest
from door_engine import CACHED, INPUT, DoorEngine
from sluice_site import Site
from test_limits import at_rest

CONFIG = '''
workers(2)
tier "seven" {{ max_output = 7 }}
tenant "seven" {{ tier = "seven" }}
tier "small" {{ tokens = {{ 3000, per = "day" }} }}
tenant "small" {{ tier = "small" }}
model "m" {{ engine = "vllm", {shared} }}
model "chat-only" {{ engine = "openai", {shared} }}
'''


@pytest.fixture(scope="module")
def engine():
    e = DoorEngine()
    yield e
    e.stop()


@pytest.fixture(scope="module")
def site(engine):
    shared = f'endpoints = {{ {{ url = "{engine.url}", concurrency = 256 }} }}, concurrency = 256, max_output = 4096, silence = "3s", ' \
             'price = { input = "0.10", cached = "0.02", output = "0.40" }'
    with Site(CONFIG.format(shared=shared)) as s:
        s.start()
        s.secret = s.key()
        yield s


def client(site, key=None):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=key or site.secret, max_retries=0)


def last_row(site, door):
    return next(r for r in site.usage_rows() if r["door"] == door)


def tokens(row):
    return row["input_tokens"], row["cached_tokens"], row["output_tokens"]


def post(site, path, body, key=None):
    status, headers, data = site.http("POST", path, body, {"authorization": "Bearer " + (key or site.secret)})
    return status, json.loads(data)


def test_plain(site, engine):
    a = client(site).responses.create(model="m", instructions="be brief", input="hello n=5", max_output_tokens=4)
    assert a.output_text == "t0 t1 t2 t3" and a.usage.input_tokens == INPUT
    row = last_row(site, "responses")
    assert tokens(row) == (INPUT, CACHED, 4) and row["flags"] == [] and row["cost"] == "0.00000296"
    assert engine.docs[-1] == ("/v1/responses", {"model": "m", "instructions": "be brief", "input": "hello n=5", "max_output_tokens": 4})


@pytest.mark.parametrize("split", (0, 1, 7))
def test_stream(site, split):
    events = list(client(site).responses.create(model="m", input=[{"role": "user", "content": f"n=5 split={split}"}], stream=True))
    assert [e.type for e in events] == ["response.created"] + ["response.output_text.delta"] * 5 + ["response.completed"]
    assert events[-1].response.output_text == "t0 t1 t2 t3 t4"
    row = last_row(site, "responses")
    assert tokens(row) == (INPUT, CACHED, 5) and row["flags"] == ["stream"]


def test_bound_is_given_and_clamped(site, engine):
    client(site).responses.create(model="m", input="n=3")
    assert engine.docs[-1][1]["max_output_tokens"] == 4096
    key = site.key("seven")
    assert client(site, key).responses.create(model="m", input="n=100", max_output_tokens=50).usage.output_tokens == 7
    assert client(site, key).responses.create(model="m", input="n=100").usage.output_tokens == 7


@pytest.mark.parametrize("fault", ("cut", "fin"))
def test_failure_inside_of_a_stream(site, fault):
    with pytest.raises(openai.APIError) as e:
        list(client(site).responses.create(model="m", input=f"n=9 gap=0.02 fault={fault}", stream=True))
    assert e.value.code == "upstream_error"
    row = last_row(site, "responses")
    assert row["output_tokens"] <= 4 and "upstream_error" in row["flags"]
    at_rest(site)


def test_engine_that_says_that_it_failed(site):
    events = list(client(site).responses.create(model="m", input="n=5 fault=failed", stream=True))
    assert events[-1].type == "response.failed"
    assert "upstream_error" in last_row(site, "responses")["flags"]


def test_hang_up(site, engine):
    cancelled = engine.cancelled
    stream = client(site).responses.create(model="m", input="n=500 gap=0.01", stream=True)
    for i, _ in enumerate(stream):
        if i == 10:
            break
    stream.close()
    end = time.monotonic() + 5
    while engine.cancelled == cancelled and time.monotonic() < end:
        time.sleep(0.02)
    assert engine.cancelled > cancelled
    at_rest(site)
    assert 3 <= last_row(site, "responses")["output_tokens"] < 100


def test_what_is_kept_between_requests_is_refused(site, engine):
    before = len(engine.docs)
    for extra in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True}, {"prompt": {"id": "pmpt_1"}}):
        with pytest.raises(openai.BadRequestError) as e:
            client(site).responses.create(model="m", input="x", **extra)
        assert e.value.param in extra and e.value.code == "invalid_value"
    assert len(engine.docs) == before
    assert client(site).responses.create(model="m", input="x", background=False, previous_response_id=None).usage
    for method, path in (("GET", "/v1/responses/resp_1"), ("POST", "/v1/responses/resp_1/cancel"), ("DELETE", "/v1/responses/resp_1")):
        assert site.http(method, path, None, {"authorization": "Bearer " + site.secret})[0] == 404


WRONG = {
    "no input": {"model": "m"}, "input of a number": {"model": "m", "input": 5}, "empty input": {"model": "m", "input": []},
    "input of an object": {"model": "m", "input": {}}, "bound of 0": {"model": "m", "input": "x", "max_output_tokens": 0},
    "bound of text": {"model": "m", "input": "x", "max_output_tokens": "5"}, "instructions of a number": {"model": "m", "input": "x", "instructions": 5},
    "tools of text": {"model": "m", "input": "x", "tools": "x"}, "stream of a number": {"model": "m", "input": "x", "stream": 1},
    "background of text": {"model": "m", "input": "x", "background": "no"},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes(site, name):
    status, error = post(site, "/v1/responses", WRONG[name])
    assert status == 400 and set(error["error"]) >= {"message", "type", "param", "code"} and "type" not in error


def test_what_belongs_to_other_doors_does_not_reach_the_engine(site, engine):
    extra = {"n": 5, "best_of": 5, "max_tokens": 9999, "max_completion_tokens": 9999, "messages": [{}], "cache_salt": "x"}
    assert post(site, "/v1/responses", {"model": "m", "input": "x", "temperature": 0.5, **extra})[0] == 200
    assert set(engine.docs[-1][1]) == {"model", "input", "temperature", "max_output_tokens"}


def test_other_engines_refuse(site):
    for path, body in (("/v1/responses", {"input": "x"}), ("/v1/rerank", {"query": "x", "documents": ["y"]}), ("/v1/score", {"text_1": "x", "text_2": "y"})):
        status, error = post(site, path, {"model": "chat-only", **body})
        assert status == 404 and error["error"]["code"] == "unsupported_endpoint" and path in error["error"]["message"]


def test_rerank_and_score(site, engine):
    status, answer = post(site, "/v1/rerank", {"model": "m", "query": "what", "documents": ["a", "b"], "top_n": 1, "stream": True, "max_tokens": 5})
    assert status == 200 and len(answer["results"]) == 2
    assert engine.docs[-1] == ("/v1/rerank", {"model": "m", "query": "what", "documents": ["a", "b"], "top_n": 1})
    row = last_row(site, "rerank")
    assert tokens(row) == (INPUT, 0, 0) and row["flags"] == []
    status, answer = post(site, "/v1/score", {"model": "m", "text_1": "what", "text_2": ["a", "b"]})
    assert status == 200 and answer["data"][0]["score"] == 0.5
    assert tokens(last_row(site, "score")) == (INPUT, 0, 0)
    for path, body in (("/v1/rerank", {"documents": ["a"]}), ("/v1/rerank", {"query": "x"}), ("/v1/rerank", {"query": "x", "documents": "a"}),
                       ("/v1/rerank", {"query": None, "documents": ["a"]}), ("/v1/rerank", {"query": "x", "documents": []}),
                       ("/v1/score", {"text_1": "x"}), ("/v1/score", {"text_1": 5, "text_2": "x"}), ("/v1/score", {"queries": "x", "documents": "y"})):
        assert post(site, path, {"model": "m", **body})[0] == 400, (path, body)


def test_query_is_reserved_for_each_document(site):
    """Each document is read together with the query: 50 times 100 bytes are above the tenant's 3000 tokens."""
    key = site.key("small")
    assert post(site, "/v1/rerank", {"model": "m", "query": "x" * 100, "documents": ["y"] * 5}, key)[0] == 200
    assert post(site, "/v1/rerank", {"model": "m", "query": "x" * 100, "documents": ["y"] * 50}, key)[0] == 429
    at_rest(site)
