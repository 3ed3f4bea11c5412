# SPDX-License-Identifier: Apache-2.0
"""Records that are older than the site keeps them: sums, exports, budgets and the chain of digests stay what they were."""
import json
import sqlite3
import time

import pytest
from fake_engine import Engine
from sluice_site import Site

GROUPS = ("hour", "day", "tenant", "user", "key", "model", "day,tenant,model", "hour,key,user")


def config(engine, more=""):
    return f'''
workers(1)
organisation "Example University"
model "m" {{ endpoints = {{ "{engine.url}" }}, price = {{ input = 0.10, cached = 0.02, output = "0.400001" }}, aliases = {{ "small" }} }}
tier "default" {{ }}
tier "hourly" {{ requests = {{ 9, per = "hour" }} }}
tier "monthly" {{ requests = {{ 9, per = "month" }} }}
tenant "physics" {{ }}
tenant "chem" {{ tier = "hourly" }}
tenant "math" {{ tier = "monthly" }}
{more}'''


def wait_for(what, name, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {name}")


def ledger(s):
    return s.admin("GET", "/v1/ledger")[1]


def bill(s):
    """Everything that can be asked for, as text."""
    out = [s.admin("GET", "/v1/usage?by=" + by)[1] for by in GROUPS]
    out.append(s.ctl("usage", "--format", "focus").stdout)
    out.append(s.ctl("usage", "--by", "tenant,model", "-o", "csv").stdout)
    return json.dumps(out)


@pytest.fixture(scope="module")
def engine():
    engine = Engine()
    yield engine
    engine.stop()


def test_old_records_become_sums(engine):
    with Site(config(engine)) as s:
        s.start()
        physics, chem, math = s.key("physics"), s.key("chem"), s.key("math")
        for i in range(6):
            assert s.chat(physics, model="small" if i % 2 else "m")[0] == 200
            assert s.chat(chem)[0] == s.chat(math)[0] == 200
        before = bill(s)
        assert len(s.usage_rows()) == 18 and ledger(s)["folded"] is None
        noted = s.ctl("ledger", "verify").stdout.split("digest")[1].strip()

        s.configure(config(engine, 'ledger { keep = "1s" }'))
        s.ctl("reload")
        wait_for(lambda: ledger(s)["folded"] == ledger(s)["committed"], "old records to be folded")
        assert s.usage_rows() == []
        assert bill(s) == before
        said = s.ctl("ledger", "verify").stdout
        assert said.startswith("ok up to record") and "became sums" in said
        # The last record's digest is kept: what was noted of it still holds the chain.
        assert s.ctl("ledger", "verify", "--known", noted, check=False).returncode == 0
        assert json.loads(s.ctl("ledger", "verify", "--json").stdout)["folded"] == ledger(s)["folded"]

        s.kill()
        s.start()
        wait_for(lambda: s.admin("GET", "/v1/ledger")[1]["folded"], "the ledger to know what was folded")
        assert bill(s) == before
        # Budgets know of it as well: nine less six.
        for key in chem, math:
            assert [s.chat(key)[0] for _ in range(4)] == [200, 200, 200, 429]
        assert s.ctl("ledger", "verify").returncode == 0


def test_kill_while_records_are_folded(engine):
    """Deaths in the middle of requests that become sums at once: each request is in the bill once."""
    with Site(config(engine, 'ledger { keep = "1s" }')) as s:
        s.start()
        secret = s.key("physics")
        answered = 0
        for round in range(6):
            for _ in range(40):
                answered += s.chat(secret)[0] == 200
            time.sleep(0.3 * round)  # up to some fold or the next
            s.kill()
            s.start()
        total = s.admin("GET", "/v1/usage")[1]["total"]
        assert total["requests"] == answered == 240
        rows = s.admin("GET", "/v1/usage?by=hour,key")[1]["rows"]
        assert [sum(r[x] for r in rows) for x in ("requests", "output_tokens")] == [240, total["output_tokens"]]
        wait_for(lambda: ledger(s)["folded"], "something to be folded")
        wait_for(lambda: s.usage_rows() == [], "all records to become sums")
        assert s.admin("GET", "/v1/usage")[1]["total"] == total
        assert s.ctl("ledger", "verify").returncode == 0


def test_verify_a_file_without_a_daemon(engine, tmp_path):
    with Site(config(engine)) as s:
        s.start()
        secret = s.key("physics")
        for _ in range(5):
            assert s.chat(secret)[0] == 200
        online = s.ctl("ledger", "verify").stdout
        file = f"{s.folder}/state/sluice.db"
        assert s.ctl("ledger", "verify", "--file", file).stdout == online, "beside a daemon"
        s.stop()
        copy = str(tmp_path / "copy.db")
        sqlite3.connect(file).execute("VACUUM INTO ?", (copy,))
        offline = s.ctl("ledger", "verify", "--file", copy).stdout
        assert offline.startswith("ok up to record") and "digest" in offline
        noted = offline.split("digest")[1].strip()
        assert s.ctl("ledger", "verify", "--file", copy, "--known", noted).stdout == offline
        before = open(copy, "rb").read()
        assert json.loads(s.ctl("ledger", "verify", "--file", copy, "--json").stdout)["ok"]
        assert open(copy, "rb").read() == before
        with sqlite3.connect(copy) as db:
            seq, = db.execute("SELECT min(seq) FROM usage").fetchone()
            db.execute("UPDATE usage SET cost = cost - 1 WHERE seq = ?", (seq,))
        p = s.ctl("ledger", "verify", "--file", copy, check=False)
        assert p.returncode == 1 and f"record {seq} is not as it was written" in p.stderr
        missing = s.ctl("ledger", "verify", "--file", str(tmp_path / "none.db"), check=False)
        assert missing.returncode == 1 and "No such file" in missing.stderr and not (tmp_path / "none.db").exists()
        (tmp_path / "empty.db").touch()
        assert s.ctl("ledger", "verify", "--file", str(tmp_path / "empty.db"), check=False).returncode == 1
