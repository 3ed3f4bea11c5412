# SPDX-License-Identifier: Apache-2.0
"""Callers with tokens of an OpenID issuer, beside callers with keys: who is let in, and what becomes of them when keys
rotate, the issuer is slow or gone, and tokens are forged."""
import json
import os
import threading
import time

import pytest
from conftest import model
from issuer import Issuer, Key, base64url, encode, hs256
from sluice_site import ROOT, Site

if not os.path.exists(os.path.join(ROOT, "lib", "sluice", "plugins", "auth", "jwt.so")):
    pytest.skip("auth/jwt was not built", allow_module_level=True)

BODY = {"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "hello"}]}


def config(issuer, engine, options="", more="", workers=2):
    return f'''
workers({workers})
tier "gold" {{ priority = 3 }}
tenant "acme" {{ tier = "gold" }}
plugin "auth/jwt" {{ issuer = "{issuer.url}", audience = "sluice", tenant_claim = "org", gap = "1s", {options} }}
plugin "auth/keys" {{}}
plugin "auth/peercred" {{}}
{more}
''' + model(engine)


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@pytest.fixture
def issuer():
    i = Issuer()
    yield i
    i.stop()


def error(answer):
    return json.loads(answer[2])["error"]


def test_every_algorithm_and_keys_beside_them(engine):
    keys = [Key("r", "RS256"), Key("p", "PS256"), Key("e", "ES256"), Key("d", "EdDSA")]
    issuer = Issuer(*keys)
    with Site(config(issuer, engine)) as s:
        s.start()
        secret = s.key()
        for key in keys:
            token = issuer.token(key, sub="user-" + key.kid)
            assert [s.chat(token, max_tokens=2)[0] for _ in range(4)] == [200] * 4, key.algorithm
        assert s.chat(secret, max_tokens=2)[0] == 200
        assert s.http("GET", "/v1/models", headers={"authorization": "Bearer " + issuer.token()})[0] == 200
        rows = [r for r in s.usage_rows() if r["tenant"] == "acme"]
        assert {r["user"] for r in rows} == {"user-r", "user-p", "user-e", "user-d"} and len(rows) == 16
        assert s.metric("sluice_plugin_events_total", event="verified") == 5
        assert s.metric("sluice_plugin_events_total", event="cached") == 12, "one signature each, whichever worker"
        assert issuer.fetches == 1
        none, wrong = s.http("POST", "/v1/chat/completions", BODY), s.chat("slk_wrong")
        assert none[0] == wrong[0] == 401
        assert none[1]["www-authenticate"] == "Bearer" and "invalid_token" in wrong[1]["www-authenticate"]
        both = s.http("POST", "/v1/chat/completions", BODY, {"authorization": "Bearer " + issuer.token(), "x-api-key": secret})
        assert both[0] == 400
        text = s.log_text()
        assert not any(issuer.token(k).split(".")[0] in text for k in keys), "no token in the log"
    issuer.stop()


def test_forged_and_unfit(engine):
    good, stranger = Key("r", "RS256"), Key("r", "RS256")
    issuer = Issuer(good, Key("e", "ES256"))
    now = int(time.time())
    unsigned = encode({"alg": "none"}, issuer.claims(), lambda _: b"")
    token = issuer.token()
    head, claims, signature = token.split(".")
    forged = {
        "alg none": unsigned,
        "alg none with a kid": encode({"alg": "none", "kid": "r"}, issuer.claims(), lambda _: b""),
        "alg none with the signature of another": ".".join(unsigned.split(".")[:2] + [signature]),
        "HS256 with the public key": encode({"alg": "HS256", "kid": "r"}, issuer.claims(), hs256(good.pem())),
        "HS256 with the JWK": encode({"alg": "HS256", "kid": "r"}, issuer.claims(), hs256(json.dumps(good.jwk()).encode())),
        "wrong audience": issuer.token(aud="another"),
        "no audience": issuer.token(aud=None),
        "wrong issuer": issuer.token(iss="http://127.0.0.1:1"),
        "expired": issuer.token(exp=now - 60),
        "without an end": issuer.token(exp=None),
        "not yet valid": issuer.token(nbf=now + 120),
        "issued tomorrow": issuer.token(iat=now + 86400),
        "another's signature": issuer.token(stranger),
        "other claims below the signature": ".".join([head, base64url(json.dumps(issuer.claims(sub="root")).encode()), signature]),
        "the kid of another kind": issuer.token(header={"kid": "e"}),
        "another algorithm": issuer.token(header={"alg": "PS256"}),
        "an unknown kid": issuer.token(stranger, header={"kid": "zzz"}),
        "its own key": issuer.token(stranger, header={"kid": None, "jwk": stranger.jwk()}),
        "no base64": head + "." + claims + "!." + signature,
        "no JSON": base64url(b"{") + "AAA." + claims + "." + signature,
        "cut short": token[:-5],
        "crit": issuer.token(header={"crit": ["exp"]}),
        "deep": issuer.token(x=json.loads("[" * 40 + "]" * 40)),
    }
    with Site(config(issuer, engine)) as s:
        s.start()
        assert s.chat(token, max_tokens=2)[0] == 200
        for name, text in forged.items():
            answer = s.chat(text, max_tokens=2)
            assert answer[0] == 401 and error(answer)["code"] == "invalid_api_key", (name, answer)
            assert "invalid_token" in answer[1]["www-authenticate"] and answer[1]["x-should-retry"] == "false", name
            assert text.split(".")[1][:40] not in answer[2].decode() or not text.split(".")[1], name
        assert s.chat(issuer.token(x="y" * 20000), max_tokens=2)[0] in (401, 431)
        assert s.chat(token, max_tokens=2)[0] == 200
        assert len(engine_rows(s)) == 2, "nothing of all that reached the books"
    issuer.stop()


def engine_rows(s):
    return [r for r in s.usage_rows() if r["status"] == 200]


def test_whose_it_is(engine, issuer):
    options = 'tenants = { a = "acme", l = "lab", gone = "gone" }, tier_claim = "plan", ' \
              'roles = { ["models.call"] = "infer", ["ops"] = { "operator", "admin" } }'
    with Site(config(issuer, engine, options)) as s:
        s.start()
        assert s.admin("POST", "/v1/tenants", {"tenant": "lab", "tier": "default"})[0] == 201

        def ask(**claims):
            return s.chat(issuer.token(**{"org": "a", "scope": "openid models.call", **claims}), max_tokens=2)

        assert ask()[0] == 200 and ask(plan="gold")[0] == 200 and ask(org=["x", "l"])[0] == 200
        for name, claims, words in (("tenant", {"org": "gone"}, "no tenant 'gone'"), ("no name", {"org": "acme"}, "names no tenant"),
                                    ("nothing", {"org": None}, "'org'"), ("tier", {"plan": "iron"}, "no tier 'iron'"),
                                    ("user", {"sub": "x" * 64}, "'sub'"), ("scope", {"scope": "openid"}, "no scope")):
            answer = ask(**claims)
            assert answer[0] == 403 and words in error(answer)["message"], (name, answer)
            assert error(answer)["type"] == "permission_error" and error(answer)["code"] == "permission_denied"
        assert ask(scope="ops")[0] == 401, "an operator's token cannot infer"

        # Rights are live, although the token is remembered.
        token = issuer.token(org="l", scope="models.call")
        assert [s.chat(token, max_tokens=2)[0] for _ in range(6)] == [200] * 6
        assert s.admin("DELETE", "/v1/tenants/lab")[0] in (200, 204)
        answers = [s.chat(token, max_tokens=2) for _ in range(6)]
        assert [a[0] for a in answers] == [403] * 6 and "no tenant 'lab'" in error(answers[0])["message"]
        assert s.admin("POST", "/v1/tenants", {"tenant": "lab", "tier": "default"})[0] == 201
        assert s.chat(token, max_tokens=2)[0] == 200

        # The control socket takes tokens, too.
        status, data = control(s, "GET", "/v1/tenants", issuer.token(org="a", scope="ops"))
        assert status == 200, data
        assert control(s, "GET", "/v1/tenants", issuer.token(org="a", scope="models.call"))[0] == 403


def control(s, method, path, token):
    from sluice_site import Unix
    c = Unix(s.control)
    c.request(method, path, headers={"authorization": "Bearer " + token})
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, data


def test_reload_judges_anew(engine, issuer):
    with Site(config(issuer, engine)) as s:
        s.start()
        token = issuer.token()
        assert [s.chat(token, max_tokens=2)[0] for _ in range(4)] == [200] * 4
        s.configure(config(issuer, engine, 'require = { "email" },'))
        assert s.admin("POST", "/v1/reload", {})[0] == 200
        answer = s.chat(token, max_tokens=2)
        assert answer[0] == 401 and "'email'" in error(answer)["message"]
        assert s.chat(issuer.token(email="a@b"), max_tokens=2)[0] == 200
        s.configure(config(issuer, engine, 'keep = "1h",'))
        status, report = s.admin("POST", "/v1/reload", {})
        assert "'keep' cannot be changed while it runs" in json.dumps(report)


def test_rotation_under_load(engine, issuer):
    """The issuer changes its key again and again, with an overlap; nobody who holds a good token notices."""
    with Site(config(issuer, engine)) as s:
        s.start()
        results, stop = [], threading.Event()

        def load(n):
            while not stop.is_set():
                results.append(s.chat(issuer.token(sub=f"u{n}-{len(results)}"), max_tokens=2))

        threads = [threading.Thread(target=load, args=(n,)) for n in range(6)]
        begin = time.monotonic()
        for t in threads:
            t.start()
        for i in range(4):
            time.sleep(0.7)
            # At once in use, which is the hardest: no issuer should do that.
            issuer.keys = [Key(f"next-{i}", ("ES256", "EdDSA")[i % 2]), issuer.keys[0]]
        time.sleep(1)
        stop.set()
        for t in threads:
            t.join()
        assert len(results) > 30
        assert [a for a in results if a[0] != 200] == []
        assert issuer.fetches <= time.monotonic() - begin + 2, "as often as the gap allows, not with each request"
        # A key that is gone takes what it signed along, remembered or not.
        old, kept = issuer.token(issuer.keys[1]), issuer.token()
        assert s.chat(old, max_tokens=2)[0] == s.chat(kept, max_tokens=2)[0] == 200
        issuer.keys = issuer.keys[:1]
        assert s.chat(issuer.token(Key("made-up")), max_tokens=2)[0] == 401
        assert s.chat(old, max_tokens=2)[0] == 401 and s.chat(kept, max_tokens=2)[0] == 200


def test_outage_and_recovery(engine, issuer):
    with Site(config(issuer, engine, 'refresh = "1s", keep = "4s",')) as s:
        s.start()
        secret = s.key()
        token = issuer.token()
        assert s.chat(token, max_tokens=2)[0] == 200
        issuer.stop()
        until(lambda: s.metric("sluice_plugin_events_total", event="fetch_failed") >= 1)
        assert s.chat(token, max_tokens=2)[0] == 200 and s.chat(issuer.token(sub="bob"), max_tokens=2)[0] == 200
        assert s.metric("sluice_plugin_events_total", event="stale") >= 2
        assert "cannot be fetched" in s.log_text() and "hold for another" in s.log_text()
        answer = s.chat(issuer.token(Key("new")), max_tokens=2)
        assert answer[0] == 503 and error(answer)["code"] == "auth_unavailable" and "retry-after" in answer[1]
        until(lambda: s.chat(token, max_tokens=2)[0] == 503)
        assert s.chat(secret, max_tokens=2)[0] == 200, "keys do not need the issuer"
        until(lambda: "hold no longer" in s.log_text())
        issuer.status = 500
        issuer.start()
        assert s.chat(token, max_tokens=2)[0] == 503
        issuer.status = 200
        until(lambda: s.chat(token, max_tokens=2)[0] == 200)
        until(lambda: "can be fetched again" in s.log_text())


def test_issuer_that_comes_late(engine, issuer):
    """sluiced starts without its issuer; the first one to come once it is there is let in."""
    issuer.stop()
    with Site(config(issuer, engine)) as s:
        s.start()
        answer = s.chat(issuer.token(), max_tokens=2)
        assert answer[0] == 503 and error(answer)["code"] == "auth_unavailable"
        issuer.start()
        until(lambda: s.chat(issuer.token(), max_tokens=2)[0] == 200)


def test_slow_issuer_blocks_nobody(engine, issuer):
    """One worker: while a token waits for its key, others go on on the same thread."""
    with Site(config(issuer, engine, workers=1)) as s:
        s.start()
        secret = s.key()
        until(lambda: s.chat(issuer.token(), max_tokens=2)[0] == 200)
        issuer.gate.clear()
        known = issuer.token()
        issuer.keys = [Key("two"), issuer.keys[0]]
        answers = []
        waiting = [threading.Thread(target=lambda: answers.append(s.chat(issuer.token(), max_tokens=2)[0])) for _ in range(5)]
        fetches = issuer.fetches
        for t in waiting:
            t.start()
        until(lambda: issuer.fetches > fetches)
        for _ in range(5):
            assert s.chat(secret, max_tokens=2)[0] == 200 and s.chat(known, max_tokens=2)[0] == 200
        assert answers == [], "they were served while the others waited"
        issuer.gate.set()
        for t in waiting:
            t.join()
        assert answers == [200] * 5

        # So slow that nobody may wait for it: an answer in bounded time, and not a wrong one.
        issuer.gate.clear()
        late = s.chat(issuer.token(Key("three")), max_tokens=2)
        assert late[0] == 503 and error(late)["code"] == "auth_unavailable"
        issuer.gate.set()
        assert s.metric("sluice_plugin_events_total", event="stale_token") == 0
        assert s.metric("sluice_plugin_events_total", event="token_timeout") == 0


def test_flood_of_made_up_keys(engine, issuer):
    """Forged tokens with ever new key names: the issuer is asked no more often than the gap allows, good tokens go on."""
    with Site(config(issuer, engine, 'waiting = 16,')) as s:
        s.start()
        until(lambda: s.chat(issuer.token(), max_tokens=2)[0] == 200)
        stop, got = threading.Event(), []

        def flood(n):
            i = 0
            while not stop.is_set():
                i += 1
                got.append(s.chat(issuer.token(header={"kid": f"{n}-{i}"}), max_tokens=2)[0])

        threads = [threading.Thread(target=flood, args=(n,)) for n in range(24)]
        begin, fetches = time.monotonic(), issuer.fetches
        for t in threads:
            t.start()
        good = [s.chat(issuer.token(sub=f"u{i}"), max_tokens=2)[0] for i in range(60)]
        time.sleep(2)
        stop.set()
        for t in threads:
            t.join()
        assert good == [200] * 60
        assert set(got) == {401, 503} and got.count(401) >= 16, "who waited is refused, who found no room is told so"
        assert issuer.fetches - fetches <= time.monotonic() - begin + 2
        assert s.metric("sluice_plugin_events_total", event="waiting_full") >= 1


def test_keys_in_a_file(engine, issuer):
    with Site("") as s:
        path = s.write("keys.json", json.dumps({"keys": [issuer.keys[0].jwk()]}))
        s.configure(config(issuer, engine, f'jwks = "{path}",'))
        s.start()
        until(lambda: s.chat(issuer.token(), max_tokens=2)[0] == 200)
        issuer.keys = [Key("two")]
        s.write("keys.new", json.dumps({"keys": [issuer.keys[0].jwk()]}))
        os.rename(os.path.join(s.folder, "keys.new"), path)
        assert s.chat(issuer.token(), max_tokens=2)[0] == 200
        assert issuer.fetches == 0


def test_refused_configurations(engine, issuer):
    for options, words in (('issuer = "http://id.example", audience = "a", tenant = "acme"', "https"),
                           (f'issuer = "{issuer.url}", tenant = "acme"', "audience"),
                           (f'issuer = "{issuer.url}", audience = "a"', "tenant_claim"),
                           (f'issuer = "{issuer.url}", audience = "a", tenant = "acme", algorithms = {{ "HS256" }}', "HS256")):
        with Site(f'plugin "auth/jwt" {{ {options} }}\nplugin "auth/keys" {{}}\n' + model(engine)) as s:
            s.start(wait=False)
            assert s.process.wait(20) != 0
            assert words in s.log_text(), options


def test_order_of_plugins_does_not_matter(engine, issuer):
    for order in (["jwt", "keys"], ["keys", "jwt"]):
        blocks = {"jwt": f'plugin "auth/jwt" {{ issuer = "{issuer.url}", audience = "sluice", tenant_claim = "org" }}\n',
                  "keys": 'plugin "auth/keys" {}\n'}
        with Site("workers(1)\n" + "".join(blocks[name] for name in order) + 'plugin "auth/peercred" {}\ntenant "acme" {}\n' + model(engine)) as s:
            s.start()
            assert s.chat(s.key(), max_tokens=2)[0] == 200
            assert s.chat(issuer.token(), max_tokens=2)[0] == 200, order
            answers = [s.chat(bad) for bad in ("slk_wrong", "nothing-known", issuer.token()[:-8] + "AAAAAAAA")]
            assert [a[0] for a in answers] == [401] * 3, answers
            assert error(answers[0])["message"] == error(answers[1])["message"], "nothing is told of what exists"


def test_two_issuers_stay_themselves_at_a_reload(engine):
    issuers = [Issuer(), Issuer()]

    def block(i, tenant):
        return f'plugin "auth/jwt" {{ issuer = "{issuers[i].url}", audience = "sluice", tenant = "{tenant}", others = "pass" }}\n'
    rest = 'plugin "auth/keys" {}\nplugin "auth/peercred" {}\ntenant "one" {}\ntenant "two" {}\ntenant "three" {}\n' + model(engine)
    with Site("workers(1)\n" + block(0, "one") + block(1, "two") + rest) as s:
        s.start()

        def tenants():
            for i in issuers:
                assert s.chat(i.token(), max_tokens=2)[0] == 200
            return [r["tenant"] for r in sorted(s.usage_rows(), key=lambda r: r["request_id"])[-2:]]
        assert tenants() == ["one", "two"]
        s.configure("workers(1)\n" + block(1, "two") + block(0, "three") + rest)
        status, answer = s.admin("POST", "/v1/reload", {})
        assert status == 200 and answer["warnings"] == ["warning: the order of the auth plugins has changed: it is used after a restart"]
        assert tenants() == ["three", "two"], "each has its own new options"
        s.configure("workers(1)\n" + block(1, "one") + rest)
        status, answer = s.admin("POST", "/v1/reload", {})
        assert status == 200 and len(answer["warnings"]) == 1 and "auth/jwt" in answer["warnings"][0], answer
        assert "not declared any more and still lets callers in" in answer["warnings"][0]
        assert tenants() == ["three", "one"], "the one that is left has taken the change"
    for i in issuers:
        i.stop()
