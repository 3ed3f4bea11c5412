# SPDX-License-Identifier: Apache-2.0
"""What probes, the service manager and an operator are told when something is ill."""
import ctypes
import os
import shutil
import subprocess
import time

import pytest
from conftest import model
from sluice_site import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and stops a thread of another user: needs root")


def wait_for(what, name, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {name}")


@pytest.fixture
def small_disk(engine):
    """A site whose state is on a file system of its own."""
    with Site('workers(1)\njournal { segment = "1M" }\n' + model(engine)) as s:
        state = os.path.join(s.folder, "state")
        os.mkdir(state)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0777", "none", state], capture_output=True).returncode:
            pytest.skip("no right to mount a tmpfs")
        try:
            s.start()
            yield s
            s.stop()
        finally:
            s.kill()
            subprocess.run(["umount", state], check=True)


def test_full_disk_is_not_ready(small_disk):
    s = small_disk
    key, filler = s.key(), os.path.join(s.folder, "state", "filler")
    ready = lambda: s.http("GET", "/readyz")[0]
    assert ready() == 200 and s.admin("GET", "/readyz") == (200, "ready\n")
    with open(filler, "wb", buffering=0) as f, pytest.raises(OSError):
        while True:
            f.write(bytes(4096))
    end = time.monotonic() + 60
    while ready() == 200 and time.monotonic() < end:
        for _ in range(50):
            s.chat(key, max_tokens=2)
    status, _, body = s.http("GET", "/readyz")
    assert status == 503 and b"ledger" in body
    status, text = s.admin("GET", "/readyz")
    assert status == 503 and "the ledger takes no records: " in text and "space" in text.lower(), text
    assert s.http("GET", "/healthz")[0] == 200, "nothing would be better after a restart"
    shown = s.ctl("status").stdout
    assert "not ready: the ledger takes no records" in shown.split("\n")[0], shown
    assert s.metric("sluice_ready") == 0
    os.unlink(filler)
    wait_for(lambda: ready() == 200, "readiness")
    assert s.admin("GET", "/readyz") == (200, "ready\n")
    assert s.chat(key, max_tokens=2)[0] == 200
    assert s.metric("sluice_ready") == 1
