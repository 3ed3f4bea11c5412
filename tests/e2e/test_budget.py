# SPDX-License-Identifier: Apache-2.0
"""One budget for requests and leases: who spends it, who is refused, and what a crash changes of it: nothing."""
import json
import os
import re
import time
from decimal import Decimal

import pytest
from fake_engine import Engine
from sluice_site import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the agent starts jobs as their callers: needs root")

# A second of a device is 1 EUR, a token of an answer too.
CONFIG = '''
workers(1)
charge_every "1s"
plugin "backend/sim" {{ devices = {{ {{ count = 3, vendor = "nvidia", model = "Sim H100", kind = "h100", memory = "80G" }} }} }}
kind "h100" {{ gpu_hour = {gpu_hour} }}
queue "default" {{ }}
tier "team" {{ cost = {{ {amount}, per = "month", scope = "tenant", warn = "{warn}" }} }}
tenant "default" {{ tier = "team", operators = true }}
model "m" {{ endpoints = {{ "{url}" }}, price = {{ input = 0, cached = 0, output = "1000000" }} }}
'''
NOTICE = 35  # seconds that are reserved for the end of a lease


@pytest.fixture(scope="module")
def engine():
    e = Engine()
    yield e
    e.stop()


@pytest.fixture
def site(engine, request):
    terms = {"amount": 100, "gpu_hour": 3600, "warn": "90%", **getattr(request, "param", {})}
    with Site(CONFIG.format(url=engine.url, **terms), agent=True) as s:
        s.start()
        wait_for(lambda: [d["state"] for d in s.admin("GET", "/v1/gpu/devices")[1]] == ["free"] * 3, "free devices")
        s.secret = s.key()
        yield s


def wait_for(what, name, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {name}")


def lease(s, number):
    status, answer = s.admin("GET", f"/v1/gpu/leases/{number}")
    assert status == 200, answer
    return answer


def run(s, seconds, *command, gpus=1, limit=None):
    limit = ("-t", limit) if limit else ()
    return s.ctl("run", "--detach", "-G", str(gpus), *limit, "--", *command, "sleep", str(seconds)).stdout.strip()


def budget(s):
    status, rows = s.admin("GET", "/v1/limits?tenant=default")
    assert status == 200 and len(rows) == 1, rows
    return Decimal(rows[0]["used"]), Decimal(rows[0]["reserved"])


def bill(s):
    return Decimal(s.admin("GET", "/v1/usage")[1]["total"]["cost"])


def over(s, *numbers):
    wait_for(lambda: all(lease(s, n)["ended_at"] for n in numbers), "the end")


def agree(s):
    """The budget holds what the bill says; a charge is rounded up to 10^-12."""
    used, reserved = budget(s)
    assert reserved == 0 and 0 <= used - bill(s) < Decimal("1e-9"), (used, bill(s))


def test_requests_and_leases_spend_the_same_money(site):
    number = run(site, 60, limit="20s", gpus=1)
    wait_for(lambda: lease(site, number)["state"] == "running", "running")
    used, reserved = budget(site)
    assert used + reserved == 20 + NOTICE
    # 45 EUR are left: a request that may need 46 is refused, one that may need 5 is not.
    status, _, body = site.chat(site.secret, max_tokens=46)
    error = json.loads(body)["error"]
    assert status == 429 and error["code"] == "insufficient_quota"
    assert re.search(r"'100 cost per month of tier team' of tenant default .* reserved by requests and leases under way", error["message"]), error
    assert site.chat(site.secret, max_tokens=5)[0] == 200
    # Another lease of that length waits for the money that the first one has reserved, and says so.
    second = run(site, 1, limit="20s")
    told = lease(site, second)
    assert told["state"] == "queued"
    assert re.match(r"limit '100 cost per month of tier team' of tenant default: .* of 100.00 EUR used, .* reserved, "
                    r"this lease may need 55.00$", told["reason"]), told["reason"]
    assert "this lease may need 55.00" in site.ctl("leases", "show", second).stdout
    # A short one fits meanwhile.
    over(site, run(site, 0, limit="1s"))
    site.ctl("release", number, "--notice", "0")
    wait_for(lambda: lease(site, second)["state"] != "queued", "the money")
    over(site, number, second)
    agree(site)
    assert "tenant:default" in site.ctl("limits", "--tenant", "default").stdout


@pytest.mark.parametrize("site", [{"amount": 50}], indirect=True)
def test_spent_money_is_refused_to_both(site):
    first = run(site, 12, limit="14s")
    over(site, first)
    agree(site)
    assert budget(site)[0] >= 12
    refused = site.ctl("run", "--detach", "-t", "10s", "--", "true", check=False)
    assert refused.returncode != 0 and refused.stdout == ""
    assert re.search(r"of 50.00 EUR used, 0.00 reserved, this lease may need 45.00; it begins anew at \d{4}-\d\d-01T00:00:00Z", refused.stderr), refused.stderr
    status, answer = site.admin("POST", "/v1/gpu/leases", {"argv": ["true"], "time_s": 100})
    assert status == 429 and answer["error"]["code"] == "insufficient_quota"
    assert "135.00: it can never fit" in answer["error"]["message"]
    assert site.chat(site.secret, max_tokens=40)[0] == 429
    # What costs nothing runs, and what was spent stays readable.
    over(site, run(site, 0, gpus=0))
    assert bill(site) >= 12 and site.ctl("usage").returncode == 0


@pytest.mark.parametrize("site", [{"amount": 500, "gpu_hour": 36000}], indirect=True)
def test_without_a_time_limit_it_ends_when_the_money_does(site):
    number = run(site, 600, "nice")
    wait_for(lambda: lease(site, number)["state"] == "running", "running")
    over(site, number)
    told = lease(site, number)
    assert told["reason"].startswith("no money left: limit '500 cost per month of tier team' of tenant default"), told
    assert told["signal"] == 15 and 5 <= told["run_s"] <= 50
    agree(site)
    assert bill(site) <= 500


def test_a_crash_changes_nothing(site):
    first, second = run(site, 7, limit="8s"), run(site, 2, limit="3s")
    assert site.chat(site.secret, max_tokens=4)[0] == 200
    wait_for(lambda: lease(site, second)["ended_at"], "the end")
    wait_for(lambda: budget(site)[0] > 6, "charges while it runs")
    for _ in range(2):
        site.kill()
        site.start()
        used, reserved = budget(site)
        # All that the ledger has is there before anybody is served, and the rest of the first lease is reserved again.
        assert abs(used - bill(site)) < 2 and reserved > NOTICE - 2
        assert used + reserved < 8 + NOTICE + 3 + 4 + 1
    over(site, first)
    agree(site)
    site.kill()
    site.start()
    agree(site)


def warned(s):
    return [line for line in s.log_text().split("\n") if "are used, by" in line]


@pytest.mark.parametrize("site", [{"warn": "1%"}, {"warn": "3%"}], ids=["by a request", "by a lease"], indirect=True)
def test_somebody_is_told_in_time(site):
    assert site.chat(site.secret, max_tokens=2)[0] == 200
    over(site, run(site, 2, limit="4s"))
    lines = warned(site)
    assert len(lines) == 1 and "limit '100 cost per month of tier team' of tenant:default" in lines[0], lines
    assert ("by request" in lines[0]) == ("1% of it" in lines[0])
    assert site.metric("sluice_limit_warnings_total", limit="100 cost per month of tier team") == 1
    assert site.admin("GET", "/v1/limits?tenant=default")[1][0]["warn"] in ("1.00", "3.00")
    # Nobody is told twice, also not after a restart.
    site.kill()
    site.start()
    assert site.chat(site.secret, max_tokens=2)[0] == 200
    assert len(warned(site)) == 1
