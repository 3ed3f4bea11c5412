# SPDX-License-Identifier: Apache-2.0
"""One bill of requests and leases: GPU time with its price, through crashes, in every form that it is asked for; and the
digests that prove it."""
import csv
import io
import json
import os
import random
import shutil
import sqlite3
import sys
import time
from decimal import Decimal

import pytest
from conftest import TOP
from fake_engine import Engine
from sluice_site import Site

CONFIG = '''
workers(1)
charge_every "1s"
organisation "Example University"
plugin "backend/sim" { devices = {
  { count = 2, vendor = "nvidia", model = "Sim H100", kind = "h100-80g", memory = "80G", island = "a" },
  { count = 1, vendor = "nvidia", model = "Sim A100", kind = "a100-40g", memory = "40G", island = "b" } } }
kind "h100-80g" { gpu_hour = 2.50 }
kind "default" { gpu_hour = "0.36" }
queue "default" { }
queue "night" { }
tenant "default" { queues = { "default", "night" }, operators = true }
'''
H100, OTHER = 694444444, 100000000  # 10^-12 of the currency a second

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the agent starts jobs as their callers: needs root")


def wait_for(what, name, seconds=20):
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


def ready(s):
    wait_for(lambda: [d["state"] for d in s.admin("GET", "/v1/gpu/devices")[1]] == ["free"] * 3, "free devices")


def store(s):
    """The store's file as it is, read by somebody else."""
    db = sqlite3.connect(f"file:{s.folder}/state/sluice.db?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    return db


def ms(seconds):
    return int(round(seconds * 1000))


def usage(s, query):
    status, answer = s.admin("GET", "/v1/usage?" + query)
    assert status == 200, answer
    return answer


@pytest.fixture(scope="module")
def site():
    engine = Engine()
    with Site(CONFIG + f'''
model "tiny" {{ endpoints = {{ "{engine.url}" }}, price = {{ input = 0.10, cached = 0.02, output = "0.400001" }}, aliases = {{ "small" }} }}
''', agent=True) as s:
        s.start()
        ready(s)
        s.secret = s.key()
        yield s
    engine.stop()


@needs_root
def test_a_lease_has_its_price_and_its_charges(site):
    number = site.ctl("run", "--detach", "-G", "2", "--kind", "h100-80g", "--", "sleep", "2.5").stdout.strip()
    wait_for(lambda: lease(site, number)["state"] == "running", "running")
    # A running lease is in the bill before it has ended.
    wait_for(lambda: usage(site, f"by=lease&lease={number}")["rows"], "the first charge")
    assert lease(site, number)["state"] == "running"
    wait_for(lambda: lease(site, number)["state"] == "ended", "the end")
    told = lease(site, number)
    assert ms(told["gpu_s"]) == 2 * ms(told["run_s"]) >= 2 * 2495  # milliseconds of two clocks, cut off
    assert Decimal(told["cost"]) == Decimal(ms(told["gpu_s"]) * H100).scaleb(-15)
    total = usage(site, f"lease={number}")["total"]
    assert (total["gpu_s"], total["cost"], total["requests"]) == (told["gpu_s"], told["cost"], 0)
    charges = store(site).execute("SELECT * FROM charge WHERE lease = ? ORDER BY seq, part", (number,)).fetchall()
    assert len(charges) >= 2, "it was charged while it ran and when it had ended"
    for a, b in zip(charges, charges[1:]):
        assert a["until_ms"] == b["from_ms"], "stretches follow each other"
    assert all(c["device_ms"] == 2 * (c["until_ms"] - c["from_ms"]) and c["price"] == H100 for c in charges)
    # Charges are no changes of its state.
    assert [h["state"] for h in told["history"]] == ["queued", "granted", "prepared", "running", "ended"]


@needs_root
def test_what_did_not_run_costs_nothing(site):
    first = site.ctl("run", "--detach", "-G", "2", "--", "sleep", "1").stdout.strip()
    number = site.ctl("run", "--detach", "-G", "2", "--", "true").stdout.strip()
    assert lease(site, number)["state"] == "queued"
    site.ctl("release", number)
    wait_for(lambda: lease(site, number)["ended_at"] and lease(site, first)["ended_at"], "the end")
    assert lease(site, number)["gpu_s"] == 0 and lease(site, number)["cost"] == "0.00"
    none = site.ctl("run", "--detach", "-G", "0", "--", "sleep", "1").stdout.strip()
    wait_for(lambda: lease(site, none)["ended_at"], "the end")
    assert lease(site, none)["run_s"] >= 1 and lease(site, none)["cost"] == "0.00"
    assert not usage(site, f"by=lease&lease={none}")["rows"] and not usage(site, f"by=lease&lease={number}")["rows"]


@needs_root
def test_one_bill(site):
    other = site.ctl("run", "--detach", "--kind", "a100-40g", "-p", "night", "--", "sleep", "1").stdout.strip()
    for i in range(5):
        assert site.chat(site.secret, model="tiny" if i % 2 else "small")[0] == 200
    wait_for(lambda: lease(site, other)["ended_at"], "the end")
    assert Decimal(lease(site, other)["cost"]) == Decimal(ms(lease(site, other)["gpu_s"]) * OTHER).scaleb(-15), "the default price"
    everything = usage(site, "")
    total = Decimal(everything["total"]["cost"])
    requests = sum(Decimal(r["cost"]) for r in site.usage_rows())
    leases = sum(Decimal(x["cost"]) for x in site.admin("GET", "/v1/gpu/leases?all=1")[1])
    assert requests > 0 and leases > 0 and total == requests + leases
    for by in ("hour", "day", "model", "tenant", "user", "queue", "kind", "lease", "key", "day,tenant,kind", "hour,lease,user"):
        answer = usage(site, "by=" + by)
        assert answer["total"] == everything["total"]
        rows = answer["rows"]
        assert sum(Decimal(r["cost"]) for r in rows) == total, by
        assert sum(ms(r["gpu_s"]) for r in rows) == ms(everything["total"]["gpu_s"])
        assert sum(r["requests"] for r in rows) == 5
        # The command shows the same, to the last digit.
        assert json.loads(site.ctl("usage", "--by", by, "--json").stdout)["total"] == everything["total"]
        table = list(csv.DictReader(io.StringIO(site.ctl("usage", "--by", by, "-o", "csv").stdout)))
        assert [(r["cost"], r["requests"], Decimal(r["gpu_s"])) for r in table] == \
            [(r["cost"], str(r["requests"]), Decimal(str(r["gpu_s"]))) for r in rows]
    assert {r["queue"] for r in usage(site, "by=queue")["rows"]} == {"", "default", "night"}
    assert {r["kind"] for r in usage(site, "by=kind")["rows"]} == {"", "a100-40g", "h100-80g"}
    assert "GPU-H" in site.ctl("usage").stdout
    assert site.admin("GET", "/v1/status")[1]["today"]["cost"] == usage(site, "since=" + time.strftime("%Y-%m-%d", time.gmtime()))["total"]["cost"]


MANDATORY = ["BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd", "ChargeCategory",
             "ChargePeriodStart", "ChargePeriodEnd", "ContractedCost", "EffectiveCost", "HostProviderName", "InvoiceIssuerName",
             "ListCost", "ServiceCategory", "ServiceName", "ServiceProviderName", "PricingQuantity", "PricingUnit",
             "ChargeDescription"]


@needs_root
def test_focus(site):
    # Another price, and back: each row has the one that held.
    text = open(site.config_path).read()
    site.configure(text.replace("input = 0.10", "input = 0.30").split("\n", 5)[5])
    site.ctl("reload")
    assert site.chat(site.secret, model="tiny")[0] == 200
    rows = list(csv.DictReader(io.StringIO(site.ctl("usage", "--format", "focus").stdout)))
    for r in rows:
        assert all(r[name] for name in MANDATORY), r
        assert Decimal(r["PricingQuantity"]) * Decimal(r["ListUnitPrice"]) == Decimal(r["BilledCost"]), r
        assert r["BilledCost"] == r["EffectiveCost"] == r["ListCost"] == r["ContractedCost"]
        assert r["BillingAccountName"] == "Example University" and r["BillingCurrency"] == "EUR" and r["ChargeCategory"] == "Usage"
        start, end = (time.strptime(r[f"ChargePeriod{x}"], "%Y-%m-%dT%H:%M:%SZ") for x in ("Start", "End"))
        month, after = (time.strptime(r[f"BillingPeriod{x}"], "%Y-%m-%dT%H:%M:%SZ") for x in ("Start", "End"))
        assert month <= start < end <= after and month.tm_mday == after.tm_mday == 1
        assert all(isinstance(v, (str, int, float, bool)) for v in json.loads(r["SkuPriceDetails"]).values())
        assert r["SubAccountId"] == "default" and not r["ChargeClass"] and not r["InvoiceId"]
    total = usage(site, "")["total"]
    assert sum(Decimal(r["BilledCost"]) for r in rows) == Decimal(total["cost"])
    tokens = [r for r in rows if r["ConsumedUnit"] == "Tokens"]
    gpus = [r for r in rows if r["ConsumedUnit"] == "GPU-Seconds"]
    assert len(tokens) + len(gpus) == len(rows)
    assert sum(int(r["ConsumedQuantity"]) for r in tokens) == total["input_tokens"] + total["output_tokens"]
    assert sum(Decimal(r["ConsumedQuantity"]) for r in gpus) == Decimal(str(total["gpu_s"]))
    assert sum(int(r["x_Requests"] or 0) for r in rows) == total["requests"]
    assert {r["ListUnitPrice"] for r in tokens if r["SkuId"] == "tiny/input"} == {"0.10", "0.30"}
    assert {r["ResourceId"] for r in gpus} == {x["lease"] for x in site.admin("GET", "/v1/gpu/leases?all=1")[1] if x["gpu_s"]}
    assert site.ctl("usage", "--format", "xml", check=False).returncode == 2
    # A part of it is that part of the bill.
    only = list(csv.DictReader(io.StringIO(site.ctl("usage", "--format", "focus", "--queue", "night").stdout)))
    assert sum(Decimal(r["BilledCost"]) for r in only) == Decimal(usage(site, "queue=night")["total"]["cost"]) > 0


@needs_root
def test_ended_leases_outlive_a_restart(site):
    before = site.admin("GET", "/v1/gpu/leases?all=1&state=ended")[1]
    assert len(before) >= 4
    shown = lease(site, before[0]["lease"])
    site.kill()
    site.start()
    after = site.admin("GET", "/v1/gpu/leases?all=1&state=ended")[1]
    strip = lambda x: {k: v for k, v in x.items() if k not in ("history",)}
    assert [strip(x) for x in after] == [strip(x) for x in before]
    assert lease(site, before[0]["lease"]) == shown
    # Page by page.
    pages, last = [], None
    while True:
        page = site.admin("GET", "/v1/gpu/leases?all=1&limit=3" + (f"&before={last}" if last else ""))[1]
        if not page:
            break
        pages += page
        last = page[-1]["lease"]
    assert [x["lease"] for x in pages] == [x["lease"] for x in before]
    assert before[-1]["lease"] in site.ctl("leases", "--all").stdout
    assert json.loads(site.ctl("leases", "show", before[-1]["lease"], "--json").stdout)["cost"] == before[-1]["cost"]
    assert site.admin("GET", "/v1/gpu/leases/L999999")[0] == 404
    assert site.admin("GET", "/v1/gpu/leases?before=x")[0] == 400


@needs_root
def test_verify(site):
    said = site.ctl("ledger", "verify").stdout
    assert said.startswith("ok up to record ")
    known = said.split("digest")[1].strip()
    assert site.chat(site.secret, model="tiny")[0] == 200
    assert site.ctl("ledger", "verify", "--known", known).stdout.startswith("ok up to record ")
    other = known[:-1] + ("0" if known[-1] != "0" else "1")
    assert "another one than before" in site.ctl("ledger", "verify", "--known", other, check=False).stderr
    verdict = json.loads(site.ctl("ledger", "verify", "--json").stdout)
    assert verdict["ok"] and verdict["first"] == 1 and verdict["records"] == verdict["verified"]
    # Somebody makes a request cheaper.
    db = sqlite3.connect(f"{site.folder}/state/sluice.db", timeout=10)
    seq, cost = db.execute("SELECT seq, cost FROM usage ORDER BY seq LIMIT 1 OFFSET 2").fetchone()
    db.execute("UPDATE usage SET cost = cost - 1 WHERE seq = ?", (seq,))
    db.commit()
    p = site.ctl("ledger", "verify", check=False)
    assert p.returncode == 1 and f"record {seq} is not as it was written" in p.stderr
    db.execute("UPDATE usage SET cost = ? WHERE seq = ?", (cost, seq))
    db.commit()
    assert site.ctl("ledger", "verify").returncode == 0
    number = db.execute("SELECT seq FROM charge LIMIT 1").fetchone()[0]
    saved = db.execute("SELECT device_ms FROM charge WHERE seq = ?", (number,)).fetchone()[0]
    db.execute("UPDATE charge SET device_ms = 1 WHERE seq = ?", (number,))
    db.commit()
    assert f"record {number}: the charges" in site.ctl("ledger", "verify", check=False).stderr
    db.execute("UPDATE charge SET device_ms = ? WHERE seq = ?", (saved, number))
    db.commit()
    db.close()


@needs_root
def test_nothing_is_charged_twice_or_forgotten():
    """Leases of all lengths through ten deaths of sluiced: what they are charged is what they ran."""
    chance = random.Random(7)
    with Site(CONFIG, agent=True) as s:
        s.start()
        ready(s)
        numbers = []
        for round in range(10):
            for _ in range(2):
                gpus = chance.choice(["1", "1", "2"])
                numbers.append(s.ctl("run", "--detach", "-G", gpus, "--kind", "h100-80g", "--", "sleep", str(round_s(chance))).stdout.strip())
            time.sleep(chance.uniform(0.2, 1.6))
            s.kill()
            time.sleep(chance.uniform(0, 1.2))
            s.start()
        for n in numbers:
            wait_for(lambda: lease(s, n)["ended_at"], f"the end of {n}", 60)
        leases = [lease(s, n) for n in numbers]
        sums = {r["lease"]: r for r in usage(s, "by=lease")["rows"]}
        assert all(x["state"] == "ended" for x in leases), [x["reason"] for x in leases]
        for x in leases:
            assert ms(x["gpu_s"]) == ms(x["run_s"]) * x["gpus"] > 0
            assert sums[x["lease"]]["gpu_s"] == x["gpu_s"] and sums[x["lease"]]["cost"] == x["cost"], x["lease"]
            asked = float(x["argv"][1])
            assert asked - 0.05 <= x["run_s"] <= asked + 8, "it is charged for as long as it ran"
        for n in numbers:
            charges = store(s).execute("SELECT from_ms, until_ms FROM charge WHERE lease = ? ORDER BY seq, part", (n,)).fetchall()
            assert all(a["until_ms"] == b["from_ms"] for a, b in zip(charges, charges[1:])), n
        assert s.ctl("ledger", "verify").stdout.startswith("ok")


def round_s(chance):
    return round(chance.uniform(0.1, 4), 2)


@needs_root
def test_replicas_are_nobodys_bill(tiny):
    """Their callers pay for tokens: the same GPU stands in the bill once, and operators see what serving has used."""
    server = shutil.copy(os.path.join(TOP, "examples", "quickstart", "llama_server.py"), os.path.dirname(tiny))
    os.chmod(server, 0o755)
    with Site(CONFIG + f'''
model "tiny" {{ engine = "llamacpp", weights = "{tiny}", gpus = 1, gpu_kind = "h100-80g", replicas = {{ min = 0, max = 1 }},
  wait = "30s", start = "30s", options = {{ binary = {{ "{sys.executable}", "{server}" }}, unix_socket = false }},
  price = {{ input = 1, output = 2 }} }}
tenant "physics" {{ }}
''', agent=True) as s:
        s.start()
        ready(s)
        assert s.chat(s.key("physics"), model="tiny", max_tokens=8)[0] == 200
        wait_for(lambda: usage(s, "")["total"]["replica_gpu_s"] >= 1, "the replica's charges")
        total = usage(s, "")["total"]
        request, = s.usage_rows()
        assert total["gpu_s"] == 0 and total["cost"] == request["cost"]
        assert Decimal(total["replica_cost"]) == Decimal(ms(total["replica_gpu_s"]) * H100).scaleb(-15)
        rows = {r["tenant"]: r for r in usage(s, "by=tenant")["rows"]}
        assert rows["physics"]["replica_gpu_s"] == 0 and rows[""]["cost"] == "0.00" and rows[""]["replica_gpu_s"] >= 1
        model, = usage(s, "by=model")["rows"]
        assert model["model"] == "tiny" and model["requests"] == 1 and model["replica_gpu_s"] >= 1
        exported = list(csv.DictReader(io.StringIO(s.ctl("usage", "--format", "focus").stdout)))
        assert sum(Decimal(r["BilledCost"]) for r in exported) == Decimal(request["cost"])
        assert "REPLICA-COST" in s.ctl("usage", "-o", "wide").stdout
