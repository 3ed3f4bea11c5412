# SPDX-License-Identifier: Apache-2.0
"""The web page's door: files, sessions, who may what, the playground; over real sockets."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import model, node_modules
from sluice_site import ROOT, Site, Unix, free_port

PAGE = os.path.join(ROOT, "share", "sluice", "page")


class Door:
    """A client of the page's door, with or without a browser's manners."""

    def __init__(self, site, port):
        self.site, self.port, self.cookie = site, port, None
        self.origin = f"http://127.0.0.1:{port}"

    def call(self, method, path, body=None, headers=None, raw=False):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            h = {} if self.cookie is None else {"cookie": self.cookie}
            h.update(headers or {})
            c.request(method, path, None if body is None else json.dumps(body), h)
            r = c.getresponse()
            data = r.read()
            answer = {k.lower(): v for k, v in r.getheaders()}
            return r.status, answer, data if raw or not data[:1] in b"[{" else json.loads(data)
        finally:
            c.close()

    def own(self, method, path, body=None, **headers):
        """As the page itself does it."""
        return self.call(method, path, body, {"origin": self.origin, "x-sluice-page": "1", **headers})

    def sign_in(self, key):
        status, headers, answer = self.own("POST", "/v1/session", {"key": key})
        assert status == 201, answer
        self.cookie = headers["set-cookie"].split(";")[0]
        return headers["set-cookie"], answer


def new_key(site, **fields):
    status, answer = site.admin("POST", "/v1/keys", {"tenant": "default", "name": "test", **fields})
    assert status == 201, answer
    return answer


@pytest.fixture(scope="module")
def paged(engine):
    port = free_port()
    with Site(f'workers(1)\npage {{ listen = "127.0.0.1:{port}", streams = 2, sessions = 40 }}\n'
              'tier "small" { requests = { 100, per = "day" } }\n'
              'tenant "default" { tier = "small" }\ntenant "other" {}\n' + model(engine)) as s:
        s.start()
        s.page_port = port
        yield s


@pytest.fixture
def door(paged):
    return Door(paged, paged.page_port)


def error(answer):
    return answer["error"]["code"]


# files

def test_all_files_are_served_with_their_types_and_a_strict_policy(door):
    types = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8",
             "svg": "image/svg+xml"}
    names = os.listdir(PAGE)
    assert "index.html" in names
    total = 0
    for name in names:
        status, headers, data = door.call("GET", "/" + name, raw=True)
        assert status == 200, name
        with open(os.path.join(PAGE, name), "rb") as f:
            assert data == f.read()
        total += len(data)
        assert headers["content-type"] == types[name.rsplit(".", 1)[1]]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "require-trusted-types-for 'script'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "connect-src 'self'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-cache"
    assert total < 150 * 1024
    assert door.call("GET", "/", raw=True)[2] == door.call("GET", "/index.html", raw=True)[2]


def test_a_file_that_is_known_is_not_sent_again(door):
    status, headers, data = door.call("GET", "/index.html", raw=True)
    tag = headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{24}"', tag)
    for value in (tag, "W/" + tag, '"other", ' + tag, "*"):
        status, headers, body = door.call("GET", "/index.html", headers={"if-none-match": value}, raw=True)
        assert (status, body) == (304, b"") and headers["etag"] == tag and "content-security-policy" in headers
    assert door.call("GET", "/index.html", headers={"if-none-match": '"other"'}, raw=True)[2] == data
    status, headers, body = door.call("HEAD", "/index.html", raw=True)
    assert (status, body) == (200, b"") and int(headers["content-length"]) == len(data) and headers["etag"] == tag


@pytest.mark.parametrize("path", ["/../sluice.lua", "/..%2fsluice.lua", "/%2e%2e/lua/policy.lua", "//etc/passwd", "/./index.html",
                                  "/index.html/", "/index%2ehtml", "/.", "/..", "/local.mk", "/index.html%00", "/nothing.js"])
def test_there_is_nothing_beside_the_files(door, path):
    status, headers, answer = door.call("GET", path)
    assert status in (400, 404)
    assert "content-security-policy" in headers or status == 400


def test_files_are_read_and_no_more(door):
    status, headers, answer = door.call("POST", "/index.html", {})
    assert (status, headers["allow"], error(answer)) == (405, "GET, HEAD", "method_not_allowed")
    assert door.call("DELETE", "/")[0] == 405


def test_probes_and_metrics_are_not_here(door):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert door.call("GET", path)[0] == 404


# sessions

def test_a_key_begins_a_session_that_scripts_cannot_read(paged, door):
    key = new_key(paged, user="dana", name="laptop")
    cookie, answer = door.sign_in(key["secret"])
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie and "Max-Age=43200" in cookie
    assert key["secret"] not in cookie and key["key"] not in cookie
    assert answer["tenant"] == "default" and answer["user"] == "dana" and answer["roles"] == ["infer"]
    assert answer["key"] == key["key"] and answer["session_ends_at"]
    assert "secret" not in answer
    status, headers, again = door.call("GET", "/v1/me")
    assert status == 200 and again["key"] == key["key"] and headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    status, headers, answer = door.own("DELETE", "/v1/session")
    assert status == 200 and answer == {"signed_out": True} and "Max-Age=0" in headers["set-cookie"]
    status, headers, answer = door.call("GET", "/v1/me")
    assert (status, error(answer)) == (401, "session_ended")
    log = paged.log_text()
    assert key["secret"] not in log and "POST /v1/session" in log and door.cookie.split("=")[1] not in log


def test_without_a_key_there_is_nothing(door):
    for method, path in (("GET", "/v1/me"), ("GET", "/v1/status"), ("GET", "/v1/keys"), ("GET", "/v1/gpu/devices")):
        status, _, answer = door.call(method, path)
        assert (status, error(answer)) == (401, "signed_out"), path
    door.cookie = f"sluice_{door.port}=" + "0" * 64
    assert error(door.call("GET", "/v1/me")[2]) == "session_ended"
    door.cookie = f"sluice_{door.port}=x"
    assert error(door.call("GET", "/v1/me")[2]) == "session_ended"


@pytest.mark.parametrize("key,status,code", [("slk_" + "a" * 40, 401, "unauthenticated"), ("nonsense", 401, "unauthenticated"),
                                             ("two words", 400, "invalid_key"), ("", 400, "invalid_key"), ("x\r\ny: z", 400, "invalid_key"),
                                             ("a" * 5000, 400, "invalid_key"), (7, 400, "invalid_type")])
def test_wrong_keys(door, key, status, code):
    got, headers, answer = door.own("POST", "/v1/session", {"key": key})
    assert (got, error(answer)) == (status, code)
    assert "set-cookie" not in headers


def test_a_session_ends_with_its_key(paged, door):
    key = new_key(paged)
    door.sign_in(key["secret"])
    assert door.call("GET", "/v1/me")[0] == 200
    assert paged.admin("POST", f"/v1/keys/{key['key']}/disable", {})[0] == 200
    status, headers, answer = door.call("GET", "/v1/me")
    assert status == 401 and "Max-Age=0" in headers["set-cookie"]
    assert paged.admin("POST", f"/v1/keys/{key['key']}/enable", {})[0] == 200
    assert error(door.call("GET", "/v1/me")[2]) == "session_ended"


def test_a_key_has_sixteen_sessions_and_loses_the_oldest(paged):
    secret = new_key(paged)["secret"]
    doors = [Door(paged, paged.page_port) for _ in range(17)]
    for d in doors:
        d.sign_in(secret)
    assert doors[0].call("GET", "/v1/me")[0] == 401
    assert [d.call("GET", "/v1/me")[0] for d in doors[1:]] == [200] * 16


def test_no_more_sessions_than_may_be(engine):
    port = free_port()
    with Site(f'page {{ listen = "127.0.0.1:{port}", sessions = 2, session = "3s", idle = "2s" }}\ntenant "default" {{}}\n' + model(engine)) as s:
        s.start()
        keys = [new_key(s)["secret"] for _ in range(3)]
        doors = [Door(s, port) for _ in keys]
        doors[0].sign_in(keys[0])
        doors[1].sign_in(keys[1])
        status, _, answer = doors[2].own("POST", "/v1/session", {"key": keys[2]})
        assert (status, error(answer)) == (503, "full")
        end = time.monotonic() + 20
        while time.monotonic() < end and doors[2].own("POST", "/v1/session", {"key": keys[2]})[0] != 201:
            time.sleep(0.1)
        assert error(doors[0].call("GET", "/v1/me")[2]) == "session_ended"


# other people's pages

FOREIGN = [{}, {"x-sluice-page": "1"}, {"origin": "OWN"}, {"origin": "http://evil.example", "x-sluice-page": "1"},
           {"origin": "null", "x-sluice-page": "1"}, {"origin": "https" + "OWN", "x-sluice-page": "1"},
           {"origin": "OWN", "x-sluice-page": "1", "sec-fetch-site": "cross-site"},
           {"origin": "OWN", "x-sluice-page": "1", "sec-fetch-site": "same-site"}]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_page_changes_nothing(paged, door, headers):
    key = new_key(paged, roles=["admin"])
    door.sign_in(key["secret"])
    headers = {k: v.replace("httpsOWN", door.origin.replace("http:", "https:")).replace("OWN", door.origin) for k, v in headers.items()}
    for method, path, body in (("POST", "/v1/keys", {"tenant": "default"}), ("DELETE", "/v1/session", None),
                               ("POST", "/v1/session", {"key": key["secret"]}), ("POST", "/v1/play", {})):
        status, _, answer = door.call(method, path, body, headers)
        assert (status, error(answer)) == (403, "foreign_page"), path
    assert door.call("GET", "/v1/me")[0] == 200


def test_another_page_reads_nothing(paged, door):
    door.sign_in(new_key(paged)["secret"])
    for site in ("cross-site", "same-site"):
        assert error(door.call("GET", "/v1/me", headers={"sec-fetch-site": site})[2]) == "foreign_page"
    for site in ("same-origin", "none"):
        assert door.call("GET", "/v1/me", headers={"sec-fetch-site": site})[0] == 200
    status, headers, _ = door.call("OPTIONS", "/v1/keys", headers={"origin": "http://evil.example", "access-control-request-method": "POST"})
    assert status >= 400 and not any(h.startswith("access-control") for h in headers)


def test_a_named_origin_is_the_only_one_and_cookies_need_tls(engine):
    port = free_port()
    with Site(f'page {{ listen = "127.0.0.1:{port}", origin = "https://gpu.example.org" }}\ntenant "default" {{}}\n' + model(engine)) as s:
        s.start()
        key, d = new_key(s), Door(s, port)
        assert error(d.own("POST", "/v1/session", {"key": key["secret"]})[2]) == "foreign_page"
        d.origin = "https://gpu.example.org"
        cookie, _ = d.sign_in(key["secret"])
        assert cookie.startswith("__Host-sluice=") and "; Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie
        assert d.call("GET", "/v1/me")[0] == 200


# who may what

def test_an_inference_key_sees_its_own_and_administers_nothing(paged, door):
    new_key(paged, tenant="other", name="secret-of-others")
    door.sign_in(new_key(paged, user="dana")["secret"])
    for path in ("/v1/me", "/v1/models", "/v1/keys", "/v1/usage?by=model", "/v1/usage/requests", "/v1/limits"):
        status, _, answer = door.call("GET", path)
        assert status == 200 and "secret-of-others" not in json.dumps(answer), path
    assert all(m["endpoints"] is None and m["why"] is None for m in door.call("GET", "/v1/models")[2])
    for path in ("/v1/status", "/v1/gpu/devices", "/v1/gpu/leases", "/v1/replicas", "/v1/tenants", "/v1/config", "/v1/ledger"):
        status, _, answer = door.call("GET", path)
        assert (status, error(answer)) == (403, "inference_key"), path
    for path in ("/v1/keys", "/v1/reload", "/v1/gpu/leases", "/v1/models/m/stop"):
        assert error(door.own("POST", path, {})[2]) == "inference_key"
    for path in ("/v1/usage?tenant=other", "/v1/keys?tenant=other", "/v1/limits?tenant=other"):
        assert error(door.call("GET", path)[2]) == "unknown_tenant"


def test_an_admin_makes_rotates_and_ends_keys(paged, door):
    door.sign_in(new_key(paged, roles=["operator", "admin"])["secret"])
    status, _, made = door.own("POST", "/v1/keys", {"tenant": "default", "name": "ci", "user": "dana"})
    assert status == 201 and made["secret"].startswith("slk_") and made["roles"] == ["infer"]
    assert paged.chat(made["secret"])[0] == 200
    assert door.own("POST", f"/v1/keys/{made['key']}/disable", {})[0] == 200
    assert paged.chat(made["secret"])[0] == 401
    assert door.own("DELETE", f"/v1/keys/{made['key']}")[0] == 200
    assert door.call("GET", "/v1/status")[2]["needs_you"] is not None
    assert door.call("GET", "/v1/tenants")[0] == 200


@pytest.mark.parametrize("roles", [["infer", "admin"], ["infer", "lease"], [], ["root"], "admin"])
def test_no_key_infers_and_administers(paged, roles):
    status, answer = paged.admin("POST", "/v1/keys", {"tenant": "default", "roles": roles})
    assert status == 400 and answer["error"]["param"] == "roles"


def test_scripts_send_a_key_and_need_no_session(paged, door):
    operator = new_key(paged, roles=["operator"])["secret"]
    assert door.call("GET", "/v1/status", headers={"authorization": "Bearer " + operator})[0] == 200
    assert door.call("POST", "/v1/drain", {}, {"authorization": "Bearer " + operator})[0] == 200
    assert door.call("POST", "/v1/undrain", {}, {"x-api-key": operator})[0] == 200
    assert door.call("GET", "/v1/status", headers={"authorization": "Bearer wrong"})[0] == 401
    # Nobody runs a job here as nobody.
    lease = new_key(paged, roles=["lease"])["secret"]
    status, _, answer = door.call("POST", "/v1/gpu/leases", {"argv": ["true"]}, {"authorization": "Bearer " + lease})
    assert (status, error(answer)) == (403, "no_uid")


def test_behind_a_proxy_on_a_unix_socket_nobody_is_who_the_proxy_is(engine):
    with Site(model(engine)) as s:
        path = s.folder + "/run/page.sock"
        s.configure(f'page {{ listen = "unix:{path}" }}\ntenant "default" {{}}\n' + model(engine))
        s.start()
        assert s.admin("GET", "/v1/tenants")[0] == 200  # whom the kernel names on the control socket is an admin

        def ask(headers):
            c = Unix(path)
            c.request("GET", "/v1/tenants", None, headers)
            r = c.getresponse()
            return r.status, error(json.loads(r.read()))

        assert ask({}) == (401, "signed_out")
        for headers in ({"authorization": "Basic eDp5"}, {"authorization": "Bearer x"}, {"x-api-key": "x"}, {"authorization": ""}):
            assert ask(headers) == (401, "unauthenticated"), headers
        c = Unix(path)
        c.request("GET", "/v1/me", None, {"authorization": "Bearer " + new_key(s, roles=["admin"])["secret"]})
        assert json.loads(c.getresponse().read())["roles"] == ["admin"]


# playground

def chat(text="hello", **fields):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


def test_the_playground_answers_as_the_inference_door_does(paged, door):
    key = new_key(paged, name="play")
    door.sign_in(key["secret"])
    status, headers, answer = door.own("POST", "/v1/play", chat())
    assert status == 200 and answer["choices"] and headers["x-request-id"].startswith("req_")
    rows = [r for r in paged.usage_rows() if r["key"] == key["key"]]
    assert [r["request_id"] for r in rows] == [headers["x-request-id"]]
    status, headers, data = door.own("POST", "/v1/play", chat(stream=True))
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    status, _, answer = door.own("POST", "/v1/play", chat(model="no-such-model"))
    assert status == 404
    assert door.own("POST", "/v1/play", {"model": 7})[0] == 400


def test_the_playground_is_bounded_and_hangs_up_with_its_client(paged, door):
    key = new_key(paged)
    door.sign_in(key["secret"])
    body = json.dumps(chat("n=4000 gap=0.05", stream=True)).encode()
    head = (f"POST /v1/play HTTP/1.1\r\nhost: 127.0.0.1:{door.port}\r\norigin: {door.origin}\r\nx-sluice-page: 1\r\n"
            f"cookie: {door.cookie}\r\ncontent-length: {len(body)}\r\n\r\n").encode()
    clients = [socket.create_connection(("127.0.0.1", door.port), timeout=20) for _ in range(2)]
    for c in clients:
        c.sendall(head + body)
        assert b"200 OK" in c.recv(4096)
    assert error(door.own("POST", "/v1/play", chat())[2]) == "playground_full"
    for c in clients:
        c.close()
    end = time.monotonic() + 20
    while time.monotonic() < end and door.own("POST", "/v1/play", chat())[0] != 200:
        time.sleep(0.1)
    assert door.own("POST", "/v1/play", chat())[0] == 200
    hung_up = []
    while time.monotonic() < end and len(hung_up) < 2:
        hung_up = [r for r in paged.usage_rows() if r["key"] == key["key"] and "client_closed" in r["flags"]]
        time.sleep(0.1)
    assert len(hung_up) == 2


# events

def listen(door, headers=None):
    s = socket.create_connection(("127.0.0.1", door.port), timeout=20)
    extra = "".join(f"{k}: {v}\r\n" for k, v in (headers or {"cookie": door.cookie}).items())
    s.sendall(f"GET /v1/events HTTP/1.1\r\nhost: x\r\n{extra}\r\n".encode())
    return s


def read_until(s, what):
    text = b""
    while what not in text:
        piece = s.recv(4096)
        assert piece, text
        text += piece
    return text


def test_events_say_that_something_has_changed_and_not_what(paged, door):
    door.sign_in(new_key(paged)["secret"])
    with listen(door) as s:
        first = read_until(s, b"data: {}\n\n")
        assert b"200 OK" in first and b"text/event-stream" in first and b"retry: 3000" in first and b"event: change" in first
        new_key(paged, name="a-name-of-others", tenant="other")
        text = read_until(s, b"event: change")
        assert b"a-name-of-others" not in text


def test_events_end_with_the_session(paged, door):
    door.sign_in(new_key(paged)["secret"])
    with listen(door) as s:
        read_until(s, b"event: change")
        door.own("DELETE", "/v1/session")
        read_until(s, b"0\r\n\r\n")
    with listen(door) as s:
        assert b"401" in read_until(s, b"\r\n\r\n")


def test_who_listens_does_not_keep_sluiced_from_ending(engine):
    port = free_port()
    with Site(f'page {{ listen = "127.0.0.1:{port}" }}\ntenant "default" {{}}\n' + model(engine)) as s:
        s.start()
        door = Door(s, port)
        door.sign_in(new_key(s)["secret"])
        with listen(door) as listener:
            read_until(listener, b"event: change")
            s.process.send_signal(signal.SIGTERM)
            read_until(listener, b"0\r\n\r\n")  # a whole answer, and not one that is cut after the time for stragglers
            assert s.stop() == 0


def test_listeners_are_bounded(paged, door):
    operator = {"authorization": "Bearer " + new_key(paged, roles=["operator"])["secret"]}
    listeners = [listen(door, operator) for _ in range(40)]
    try:
        for s in listeners:
            read_until(s, b"event: change")
        status, _, answer = door.call("GET", "/v1/events", headers=operator)
        assert (status, error(answer)) == (503, "too_many_listeners")
    finally:
        for s in listeners:
            s.close()


# the daemon

def test_without_an_address_there_is_no_page_and_without_files_no_start(engine):
    with Site(model(engine)) as s:
        s.start()
        assert s.admin("POST", "/v1/session", {"key": "x"})[0] == 404
        assert s.admin("GET", "/v1/config")[1]["page"]["listen"] is None
    with Site(f'page {{ listen = "127.0.0.1:{free_port()}", folder = "/nonexistent" }}\n' + model(engine)) as s:
        with pytest.raises(RuntimeError, match="the page's folder /nonexistent"):
            s.start()


def test_a_reload_reads_the_files_again(engine):
    port = free_port()
    with Site(model(engine)) as s:
        folder = os.path.join(s.folder, "page")
        os.mkdir(folder)
        s.write("page/index.html", "<!doctype html>one")
        s.configure(f'page {{ listen = "127.0.0.1:{port}", folder = "{folder}" }}\n' + model(engine))
        s.start()
        d = Door(s, port)
        _, headers, data = d.call("GET", "/", raw=True)
        assert data == b"<!doctype html>one"
        s.write("page/index.html", "<!doctype html>two")
        s.write("page/notes.lua", "secret")
        assert s.admin("POST", "/v1/reload", {})[0] == 200
        status, after, data = d.call("GET", "/", headers={"if-none-match": headers["etag"]}, raw=True)
        assert (status, data) == (200, b"<!doctype html>two") and after["etag"] != headers["etag"]
        assert d.call("GET", "/notes.lua")[0] == 404
        s.write("page/big.js", "x" * (256 * 1024 + 1))
        assert s.admin("POST", "/v1/reload", {})[0] == 200
        assert d.call("GET", "/", raw=True)[2] == b"<!doctype html>two" and d.call("GET", "/big.js")[0] == 404
        assert "the files of before go on being served" in s.log_text()


# a real browser

CHROMIUM = next((p for p in ("chromium", "chromium-browser", "google-chrome") if shutil.which(p)), None)

SITE = '''
workers(1)
page {{ listen = "127.0.0.1:{port}" }}
plugin "backend/sim" {{ devices = {{ {{ count = 4, vendor = "nvidia", model = "Sim H100", kind = "h100-80g", memory = "80G", island = "a" }} }} }}
queue "default" {{ }}
kind "default" {{ gpu_hour = 2.5 }}
tier "free" {{ requests = {{ 60, per = "day" }}, cost = {{ 5, per = "month", scope = "tenant" }} }}
tenant "default" {{ tier = "free", queues = {{ "default" }}, operators = true }}
tenant "physics" {{ tier = "free", queues = {{ "default" }} }}
'''


@pytest.fixture(scope="module")
def seen(engine, tmp_path_factory):
    """What tests/e2e/browser.mjs saw on a site with some of everything."""
    if not CHROMIUM:
        pytest.skip("chromium is not here (apt-get install chromium)")
    node_modules("playwright-core")
    modules = os.path.dirname(node_modules("axe-core"))
    port, root = free_port(), os.geteuid() == 0
    config = SITE.format(port=port) + model(engine) + model(engine, "llama-8b") + model(engine, "org/embed-large")
    with Site(config, agent=root) as s:
        s.start()
        given = {"modules": modules, "chromium": shutil.which(CHROMIUM), "url": f"http://127.0.0.1:{port}/",
                 "admin": new_key(s, roles=["lease", "operator", "admin"], name="page", user="olga")["secret"],
                 "infer": new_key(s, user="dana", name="laptop")["secret"], "shots": os.environ.get("SLUICE_SHOTS", "")}
        for i in range(9):
            s.chat(given["infer"], messages=[{"role": "user", "content": f"n={5 + i} hello"}])
            s.chat(new_key(s, tenant="physics", user="eve")["secret"], model="llama-8b")
        if root:
            s.ctl("run", "-G", "1", "--", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
            for _ in range(3):
                s.ctl("run", "-G", "2", "-J", "train", "--detach", "--", "sleep", "900")
            device = s.admin("GET", "/v1/gpu/devices")[1][3]["device"]
            assert s.admin("POST", f"/v1/gpu/devices/{device}/drain", {"reason": "its fan is loud"})[0] == 200
            given["lease"] = "L1"
        p = subprocess.run(["node", os.path.join(os.path.dirname(__file__), "browser.mjs"), json.dumps(given)], capture_output=True,
                           text=True, timeout=500)
        assert p.returncode == 0, p.stderr[-3000:]
        yield json.loads(p.stdout)


def test_axe_finds_nothing_on_any_page(seen):
    assert seen["pages"] >= 80
    assert seen["violations"] == []


def test_no_error_and_no_breach_of_the_policy_in_the_console(seen):
    assert seen["console"] == []


def test_nothing_is_wider_than_a_phone(seen):
    assert seen["overflow"] == []


@pytest.mark.parametrize("flow", ["first_view", "keyboard_makes_a_key_and_ends_it", "playground_streams_text_that_stays_text",
                                  "url_holds_the_view_and_sign_out_ends_it", "what_happens_elsewhere_shows_by_itself",
                                  "pause_holds_still"])
def test_flow(seen, flow):
    assert seen["flows"][flow] == "ok"
