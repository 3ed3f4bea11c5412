# SPDX-License-Identifier: Apache-2.0
"""What a hostile or broken client sends, and the answer it gets. Never: a crash, a hang, bytes of it at the engine."""
import http.client
import json
import re
import socket
import time

import pytest
from conftest import model
from sluice_site import Site

OK = b'{"model":"m","max_tokens":3,"messages":[{"role":"user","content":"hello"}]}'


def raw(site, data, wait=5.0, then=b""):
    """Sends bytes; returns (status, body, closed) of the first answer."""
    s = socket.create_connection(("127.0.0.1", site.port), timeout=wait)
    try:
        s.sendall(data)
        if then:
            time.sleep(0.05)
            s.sendall(then)
        got = b""
        while b"\r\n\r\n" not in got:
            piece = s.recv(65536)
            if not piece:
                return (None, got, True)
            got += piece
        head, body = got.split(b"\r\n\r\n", 1)
        length = re.search(rb"content-length: (\d+)", head.lower())
        while length and len(body) < int(length.group(1)):
            body += s.recv(65536)
        status = int(head.split(b" ")[1])
        closing = b"connection: close" in head.lower()
        if closing:
            s.settimeout(3)
            try:
                assert s.recv(65536) == b""
            except ConnectionError:
                pass
        return status, body, closing
    finally:
        s.close()


def post(site, body=OK, headers=b"", line=b"POST /v1/chat/completions HTTP/1.1", length=True, host=b"host: x\r\n"):
    out = line + b"\r\n" + host + b"authorization: Bearer " + site.secret.encode() + b"\r\ncontent-type: application/json\r\n" + headers
    if length:
        out += b"content-length: %d\r\n" % len(body)
    return out + b"\r\n" + body


CH = b"transfer-encoding: chunked\r\n"
FRAMING = [
    # name, headers, body, own length?, status
    ("1 length and chunked", CH, OK, True, 400),
    ("2 gzip", b"transfer-encoding: gzip\r\n", b"", False, (400, 501)),
    ("2 chunked, gzip", b"transfer-encoding: chunked, gzip\r\n", b"", False, (400, 501)),
    ("2 chunked twice", b"transfer-encoding: chunked, chunked\r\n", b"0\r\n\r\n", False, 400),
    ("2 xchunked", b"transfer-encoding: xchunked\r\n", b"0\r\n\r\n", False, (400, 501)),
    ("2 leading comma", b"transfer-encoding: ,chunked\r\n", b"0\r\n\r\n", False, 400),
    ("2 vertical tab", b"transfer-encoding: \x0bchunked\r\n", b"0\r\n\r\n", False, 400),
    ("2 0xa0", b"transfer-encoding: \xa0chunked\r\n", b"0\r\n\r\n", False, (400, 501)),
    ("4 two lengths", b"content-length: 5\r\n", OK, True, 400),
    ("4 equal lengths", b"content-length: %d\r\n" % len(OK), OK, True, 400),
    ("4 list", b"content-length: 5, 5\r\n", b"hello", False, 400),
    ("5 empty", b"content-length: \r\n", b"", False, 400),
    ("5 plus", b"content-length: +5\r\n", b"hello", False, 400),
    ("5 minus", b"content-length: -5\r\n", b"hello", False, 400),
    ("5 hex", b"content-length: 0x5\r\n", b"hello", False, 400),
    ("5 underscore", b"content-length: 5_0\r\n", b"hello", False, 400),
    ("5 space", b"content-length: 5 0\r\n", b"hello", False, 400),
    ("5 above 2^63", b"content-length: 9223372036854775808\r\n", b"hello", False, 400),
    ("6 chunk 0x5", CH, b"0x5\r\nhello\r\n0\r\n\r\n", False, 400),
    ("6 chunk +5", CH, b"+5\r\nhello\r\n0\r\n\r\n", False, 400),
    ("6 chunk -0", CH, b"-0\r\n\r\n", False, 400),
    ("6 chunk space", CH, b" 5\r\nhello\r\n0\r\n\r\n", False, 400),
    ("6 chunk empty", CH, b"\r\nhello\r\n", False, 400),
    ("6 chunk 17 digits", CH, b"00000000000000005\r\nhello\r\n0\r\n\r\n", False, 400),
    ("6 chunk 5zz", CH, b"5zz\r\nhello\r\n0\r\n\r\n", False, 400),
    ("7 longer than its size", CH, b"3\r\nhello\r\n0\r\n\r\n", False, 400),
    ("7 bare LF", CH, b"5\nhello\n0\n\n", False, 400),
    ("8 long extensions", CH, b"5;" + b"a" * 1100 + b"\r\nhello\r\n0\r\n\r\n", False, 400),
    ("11 space before colon", b"x-y : 1\r\n", OK, True, 400),
    ("11 obs-fold", b"x-y: 1\r\n 2\r\n", OK, True, 400),
    ("11 empty name", b": 1\r\n", OK, True, 400),
    ("11 NUL in a value", b"x-y: a\0b\r\n", OK, True, 400),
    ("11 8-bit name", b"x\xe9y: 1\r\n", OK, True, 400),
    ("13 100 fields and more", b"".join(b"x-%d: 1\r\n" % i for i in range(120)), OK, True, 431),
    ("13 block above 32 KiB", b"x: " + b"a" * 40000 + b"\r\n", OK, True, 431),
    ("16 other expectation", b"expect: 200-maybe\r\n", OK, True, 417),
]


@pytest.mark.parametrize("name,headers,body,length,status", FRAMING, ids=[f[0] for f in FRAMING])
def test_framing(site, engine, name, headers, body, length, status):
    before = len(engine.requests)
    got, answer, closed = raw(site, post(site, body, headers, length=length))
    assert got in (status if isinstance(status, tuple) else (status,)), answer
    assert closed, "the connection must not be trusted any more"
    error = json.loads(answer)["error"]
    assert error["code"] and error["message"] and error["type"] == "invalid_request_error"
    assert len(engine.requests) == before, "nothing of it reaches an engine"


LINES = [
    ("3 chunked in HTTP/1.0", b"POST /v1/chat/completions HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("10 no host", b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
    ("10 two hosts", b"GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    ("10 host list", b"GET /v1/models HTTP/1.1\r\nhost: a, b\r\n\r\n", 400),
    ("12 bare LF", b"GET /v1/models HTTP/1.1\nhost: a\n\n", 400),
    ("13 long line", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
    ("14 CONNECT", b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", (400, 405, 501)),
    ("14 lower case", b"get /v1/models HTTP/1.1\r\nhost: a\r\n\r\n", (400, 405, 501)),
    ("15 HTTP/1.32", b"GET /v1/models HTTP/1.32\r\nhost: a\r\n\r\n", (400, 505)),
    ("15 HTTP/2.0", b"GET /v1/models HTTP/2.0\r\nhost: a\r\n\r\n", (400, 505)),
    ("15 h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    ("15 TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n", 400),
    ("15 HTTP/0.9", b"GET /v1/models\r\n\r\n", (400, 505)),
    ("24 dot segments", b"GET /v1/%2e%2e/v1/models HTTP/1.1\r\nhost: a\r\n\r\n", (400, 404)),
    ("24 double slash", b"GET //v1/models HTTP/1.1\r\nhost: a\r\n\r\n", (400, 404)),
    ("24 NUL in the path", b"GET /v1/models%00 HTTP/1.1\r\nhost: a\r\n\r\n", (400, 404)),
]


@pytest.mark.parametrize("name,data,status", LINES, ids=[x[0] for x in LINES])
def test_lines(site, name, data, status):
    got, answer, _ = raw(site, data)
    assert got in (status if isinstance(status, tuple) else (status,)), answer
    assert json.loads(answer)["error"]["code"]


def body(**fields):
    return json.dumps({"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "hello"}], **fields}).encode()


DEEP = b'{"model":"m","messages":' + b"[" * 80 + b"]" * 80 + b"}"
BODIES = [
    # name, body, code, param
    ("29 truncated", OK[:-5], "invalid_json", None),
    ("29 trailing bytes", OK + b"x", "invalid_json", None),
    ("29 two documents", OK + OK, "invalid_json", None),
    ("29 NaN", b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":NaN}', "invalid_json", None),
    ("29 comment", b'{"model":"m",/* hi */"messages":[]}', "invalid_json", None),
    ("29 single quotes", b"{'model':'m'}", "invalid_json", None),
    ("30 too deep", DEEP, None, None),
    ("31 model twice", b'{"model":"m","model":"x","messages":[{"role":"user","content":"x"}]}', "duplicate_field", "model"),
    ("31 escaped twin", b'{"model":"m","mod\\u0065l":"x","messages":[{"role":"user","content":"x"}]}', "duplicate_field", "model"),
    ("31 max_tokens twice", b'{"model":"m","max_tokens":1,"max_tokens":9999,"messages":[{"role":"user","content":"x"}]}', "duplicate_field", "max_tokens"),
    ("31 messages twice", b'{"model":"m","messages":[{"role":"user","content":"x"}],"messages":[{"role":"user","content":"x"}]}', "duplicate_field", "messages"),
    ("32 Model is not model", b'{"Model":"m","messages":[{"role":"user","content":"x"}]}', None, "model"),
    ("33 invalid UTF-8", b'{"model":"m","messages":[{"role":"user","content":"\xff\xfe"}]}', "invalid_json", None),
    ("33 BOM", b"\xef\xbb\xbf" + OK, "invalid_json", None),
    ("33 lone surrogate in model", b'{"model":"\\ud800","messages":[{"role":"user","content":"x"}]}', None, None),
    ("34 negative", body(max_tokens=-1), "invalid_value", "max_tokens"),
    ("34 zero", body(max_tokens=0), "invalid_value", "max_tokens"),
    ("34 fraction", body(max_tokens=1.5), "invalid_value", "max_tokens"),
    ("34 huge", OK.replace(b"3", b"1e400", 1), "invalid_value", "max_tokens"),
    ("34 text", body(max_tokens="100"), "invalid_value", "max_tokens"),
    ("34 2^63", OK.replace(b"3", b"9223372036854775808", 1), "invalid_value", "max_tokens"),
    ("35 n too large", body(n=100000), "invalid_value", "n"),
    ("37 stream text", body(stream="true"), "invalid_value", "stream"),
    ("37 stream number", body(stream=1), "invalid_value", "stream"),
    ("38 no object", b"[1,2]", None, None),
    ("38 empty", b"", None, None),
]


@pytest.mark.parametrize("name,data,code,param", BODIES, ids=[b[0] for b in BODIES])
def test_bodies(site, engine, name, data, code, param):
    before = len(engine.requests)
    status, answer, _ = raw(site, post(site, data))
    assert status in (400, 404), answer
    error = json.loads(answer)["error"]
    assert error["code"], answer
    if code:
        assert error["code"] == code
    if param:
        assert error["param"] == param
    assert len(engine.requests) == before


def test_14_unknown_path_and_method(site):
    assert site.http("GET", "/slots")[0] == 404
    assert site.http("POST", "/invocations", b"{}")[0] == 404
    status, headers, _ = site.http("GET", "/v1/chat/completions")
    assert status == 405 and headers["allow"] == "POST"
    for path in ("/healthz", "/readyz", "/v1/models", "/v1/models/m"):
        status, headers, _ = site.http("DELETE", path)
        assert status == 405 and headers["allow"] == "GET, HEAD"


def head(site, data, port=None):
    """All that comes in answer to bytes, until the connection ends."""
    with socket.create_connection(("127.0.0.1", port or site.port), timeout=5) as s:
        s.sendall(data)
        got = b""
        while piece := s.recv(65536):
            got += piece
    return got


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/v1/models/m", "/v1/chat/completions", "/nothing"])
def test_14_head_is_answered_without_a_body(site, path):
    key = {"authorization": "Bearer " + site.secret}
    status, headers, data = site.http("GET", path, headers=key)
    line = f"HEAD {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {site.secret}\r\n".encode()
    got = head(site, line + b"\r\n" + line + b"connection: close\r\n\r\n")
    answers = got.split(b"\r\n\r\n")
    assert len(answers) == 3 and answers[2] == b"", got
    for answer in answers[:2]:
        assert answer.startswith(b"HTTP/1.1 %d " % status), got
        length = int(re.search(rb"content-length: (\d+)", answer).group(1))
        assert length == len(data) == int(headers["content-length"])


@pytest.mark.parametrize("data,status", [
    (b"HEAD /healthz HTTP/1.1\r\n\r\n", 400),
    (b"\r\nHEAD /healthz HTTP/1.1\r\n\r\n", 400),
    (b"HEAD /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 401),
    (b"HEAD /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n", 413),
    (b"HEAD /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414)])
def test_14_head_that_is_refused_gets_no_body(site, data, status):
    got = head(site, data)
    assert got.startswith(b"HTTP/1.1 %d " % status) and got.endswith(b"\r\n\r\n") and b"{" not in got, got
    assert b"content-length: 0" not in got.lower()


KEY = b"authorization: Bearer %s\r\ncontent-type: application/json\r\n"
REFUSED = [
    (b"GET /v1/models\r\n\r\n", 400),
    (b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", 401),
    (b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    (b"PUT /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + KEY + b"content-length: 3000000\r\n\r\n", 413),
    (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + KEY + CH + b"\r\n200001\r\n" + b" " * 0x200001, 413),
    (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + KEY.replace(b"/json", b"/xml") + b"content-length: 0\r\n\r\n", 415),
    (b"BREW /v1/pots HTTP/1.1\r\nhost: x\r\n\r\n", 501)]


@pytest.mark.parametrize("data,status", REFUSED, ids=range(len(REFUSED)))
def test_each_refusal_has_an_id(site, data, status):
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as s:
        s.sendall(data.replace(b"%s", site.secret.encode()))
        answer = http.client.HTTPResponse(s)
        answer.begin()
        found = json.loads(answer.read())["error"]["request_id"]
    assert answer.status == status
    assert answer.headers.get_all("x-request-id") == [found] and re.fullmatch("req_[0-9A-Z]{26}", found)


def test_16_expect_continue(site):
    s = socket.create_connection(("127.0.0.1", site.port), timeout=5)
    s.sendall(post(site, b"", b"expect: 100-continue\r\ncontent-length: %d\r\n" % len(OK), length=False))
    assert s.recv(1000).startswith(b"HTTP/1.1 100 ")
    s.sendall(OK)
    assert s.recv(1000).startswith(b"HTTP/1.1 200 ")
    s.close()
    status, _, closed = raw(site, post(site, b"", b"expect: 100-continue\r\ncontent-length: 99999999\r\n", length=False))
    assert (status, closed) == (413, True), "judged before it is asked for"
    bad = post(site, b"", b"expect: 100-continue\r\ncontent-length: 50\r\n", length=False).replace(site.secret.encode(), b"slk_no")
    status, _, closed = raw(site, bad)
    assert (status, closed) == (401, True)


def test_17_too_large(site):
    status, _, closed = raw(site, post(site, b"", b"content-length: 3000000\r\n", length=False))
    assert (status, closed) == (413, True)
    big = b"".join(b"10000\r\n" + b" " * 0x10000 + b"\r\n" for _ in range(40))
    status, _, closed = raw(site, post(site, big, CH, length=False))
    assert (status, closed) == (413, True), "at the crossing, where no length says it before"


def test_18_slow_head_and_body(site):
    for data in (b"GET /v1/models HTTP/1.1\r\nhost: ", post(site, b"", b"content-length: 50\r\n", length=False)):
        s = socket.create_connection(("127.0.0.1", site.port), timeout=10)
        s.sendall(data)
        begin = time.monotonic()
        got = b""
        while time.monotonic() - begin < 9 and not got:
            s.sendall(b"x")  # a byte now and then does not help
            s.settimeout(0.2)
            try:
                got = s.recv(1000)
            except TimeoutError:
                pass
            except ConnectionError:
                break
        assert got.startswith(b"HTTP/1.1 408 "), got
        s.close()


def test_18_slow_head_on_a_used_connection(site):
    s = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    s.sendall(post(site))
    assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
    s.sendall(b"GET /v1/models HTTP/1.1\r\nhost: ")
    begin, got = time.monotonic(), b""
    while time.monotonic() - begin < 4.5 and not got:
        s.sendall(b"x")
        s.settimeout(0.2)
        try:
            got = s.recv(1000)
        except TimeoutError:
            pass
    assert got.startswith(b"HTTP/1.1 408 "), got
    s.close()


def test_21_pipelined(site, engine):
    bad = post(site, b"{", b"")
    s = socket.create_connection(("127.0.0.1", site.port), timeout=5)
    s.sendall(post(site) + post(site) + bad + post(site))
    got = b""
    while got.count(b"HTTP/1.1 ") < 4 or not got.rstrip().endswith(b"}"):
        piece = s.recv(65536)
        if not piece:
            break
        got += piece
    statuses = [int(x) for x in re.findall(rb"HTTP/1\.1 (\d+)", got)]
    assert statuses[:3] == [200, 200, 400]
    s.close()
    before = len(engine.requests)
    status, _, closed = raw(site, post(site, OK, CH) + post(site))
    assert (status, closed) == (400, True) and len(engine.requests) == before, "nothing behind a refused one is read"


def test_23_half_closed(site):
    s = socket.create_connection(("127.0.0.1", site.port), timeout=5)
    s.sendall(post(site, body=json.dumps({"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "n=3 gap=0.1"}]}).encode()))
    s.shutdown(socket.SHUT_WR)
    got = b""
    while piece := s.recv(65536):
        got += piece
    assert b"HTTP/1.1 200 " in got and b"t0 t1 t2" in got
    s.close()


def test_25_connection_header_forges_nothing(site, engine):
    status, _, _ = raw(site, post(site, OK, b"connection: authorization, x-request-id\r\nx-request-id: mine\r\n"))
    assert status == 200
    head = engine.requests[-1][0].lower()
    assert b"x-request-id: req_" in head and b"mine" not in head and site.secret.lower().encode() not in head


def test_26_encoding(site):
    assert raw(site, post(site, OK, b"content-encoding: gzip\r\n"))[0] == 415


def test_28_nothing_is_carried_over(site):
    s = socket.create_connection(("127.0.0.1", site.port), timeout=5)
    s.sendall(post(site))
    assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
    s.sendall(post(site).replace(site.secret.encode(), b"slk_" + b"x" * 40))
    assert s.recv(65536).startswith(b"HTTP/1.1 401 ")
    s.close()


def test_30_a_million_keys(site):
    data = b'{"model":"m","max_tokens":2,"messages":[{"role":"user","content":"hi"}],"x":{' + \
        b",".join(b'"%x":1' % i for i in range(150000)) + b"}}"
    assert raw(site, post(site, data))[0] == 200


@pytest.fixture(scope="module")
def vllm(engine):
    """The same engine, as one that has running counts."""
    with Site("workers(1)\n" + model(engine).replace('"openai"', '"vllm"')) as s:
        s.start()
        s.secret = s.key()
        yield s


def test_37_usage_is_asked_and_kept_from_the_client(site, engine):
    status, _, data = site.chat(site.secret, stream=True, max_tokens=3)
    assert status == 200 and b'"usage"' not in data and data.rstrip().endswith(b"data: [DONE]")
    assert json.loads(engine.requests[-1][1])["stream_options"] == {"include_usage": True}
    status, _, data = site.chat(site.secret, stream=True, max_tokens=3, stream_options={"include_usage": True})
    assert b'"usage"' in data
    status, _, data = site.chat(site.secret, stream=True, max_tokens=3, stream_options={"include_usage": False})
    assert b'"usage"' not in data


@pytest.mark.parametrize("options", [None, {}, {"include_usage": True}, {"include_usage": None}, {"continuous_usage_stats": False},
                                     {"continuous_usage_stats": False, "x": 1, "include_usage": False},
                                     {"include_usage": True, "continuous_usage_stats": True}])
def test_37_running_usage_is_asked_too(vllm, engine, options):
    asked = {} if options is None else {"stream_options": options}
    status, _, data = vllm.chat(vllm.secret, stream=True, max_tokens=3, **asked)
    assert status == 200 and (b'"usage"' in data) == bool(options and options.get("include_usage"))
    sent = json.loads(engine.requests[-1][1])["stream_options"]
    assert sent == {**(options or {}), "include_usage": True, "continuous_usage_stats": True}


def test_38_types(site):
    for type_ in ("text/plain", "application/x-www-form-urlencoded"):
        assert site.http("POST", "/v1/chat/completions", OK.decode(), {"authorization": "Bearer " + site.secret, "content-type": type_})[0] == 415


def test_36_a_bound_is_always_sent(site, engine):
    site.chat(site.secret)
    assert json.loads(engine.requests[-1][1])["max_tokens"] == 4096


def test_36_what_bounds_a_client_s_own_bound(engine):
    """The model's max_output is for requests that name none; its context and the tier's max_output are bounds."""
    extra = "context = 8192"
    with Site(model(engine, extra=extra) + 'tier "small" { max_output = 100 }\ntenant "t" { tier = "small" }\n') as s:
        s.start()
        for key, asked, sent in (s.key(), 1000000, 8192), (s.key(), 5000, 5000), (s.key("t"), 5000, 100):
            assert s.chat(key, max_tokens=asked)[0] == 200
            assert json.loads(engine.requests[-1][1])["max_tokens"] == sent


def test_engine_fields_do_not_pass(site, engine):
    status, _, _ = site.chat(site.secret, max_tokens=3, priority=-100, cache_salt="mine", top_p=0.5, kv_transfer_params={"a": [1, {"b": 2}]})
    assert status == 200
    sent = json.loads(engine.requests[-1][1])
    assert sent["top_p"] == 0.5 and not {"priority", "cache_salt", "kv_transfer_params"} & set(sent)


def test_credentials(site):
    for header in ({}, {"authorization": "Basic abc"}, {"authorization": "Bearer "}, {"authorization": "Bearer slk_" + "a" * 40},
                   {"x-api-key": "nope"}):
        status, headers, data = site.http("POST", "/v1/chat/completions", OK.decode(), {"content-type": "application/json", **header})
        assert status == 401, (header, data)
        assert json.loads(data)["error"]["code"] == "invalid_api_key"
        assert headers.get("x-should-retry") == "false"
    both = {"authorization": "Bearer " + site.secret, "x-api-key": "other", "content-type": "application/json"}
    assert site.http("POST", "/v1/chat/completions", OK.decode(), both)[0] == 400
    key = {"x-api-key": site.secret, "content-type": "application/json"}
    assert site.http("POST", "/v1/chat/completions", OK.decode(), key)[0] == 200


def test_still_there(site):
    """After all of that: alive, and nothing is reserved."""
    assert site.process.poll() is None
    assert site.chat(site.secret, max_tokens=3)[0] == 200
