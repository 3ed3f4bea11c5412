# SPDX-License-Identifier: Apache-2.0
"""A program's output: all of it for a client that reads, and nobody blocked by one that does not."""
import hashlib
import os
import re
import signal
import subprocess
import time

import pytest
from sluice_site import ROOT, Site
from test_pool import POOL, agent_pid, states, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the agent starts jobs as their callers: needs root")
WAIT_S = 2
LINES = 3000000
WHOLE = "".join(f"{i}\n" for i in range(1, LINES + 1)).encode()


@pytest.fixture(scope="module")
def site():
    with Site(POOL + f'limits {{ output_wait = "{WAIT_S}s" }}\n', agent=True) as s:
        s.start()
        wait_for(lambda: len(s.admin("GET", "/v1/gpu/devices")[1]) == 2, "devices")
        yield s


def run(site, *words, **more):
    return subprocess.Popen([os.path.join(ROOT, "bin", "sluicectl"), "--socket", site.control, *words],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **more)


def read(p, size):
    data = b""
    while len(data) < size and (part := p.stdout.read(size - len(data))):
        data += part
    return data


def check_whole(data):
    """A difference of megabytes is nothing that one reads."""
    assert (len(data), hashlib.sha256(data).hexdigest()) == (len(WHOLE), hashlib.sha256(WHOLE).hexdigest())


def test_a_fast_program(site):
    p = run(site, "run", "--no-stdin", "--", "seq", "1", str(LINES))
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0, err
    check_whole(out)


def test_both_streams(site):
    p = run(site, "run", "--no-stdin", "--", "sh", "-c", f"seq 1 {LINES} & seq 1 {LINES} >&2; wait")
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0
    check_whole(out)
    check_whole(err[:len(WHOLE)])


def test_a_slow_reader(site):
    """It reads on all the time, but slower than the program could write."""
    p = run(site, "run", "--no-stdin", "--", "seq", "1", str(LINES))
    parts = []
    while part := read(p, 1000000):
        parts.append(part)
        time.sleep(0.1)
    assert p.wait(60) == 0, p.stderr.read()
    check_whole(b"".join(parts))


def test_attach(site):
    """One that comes later misses what is gone, and nothing from there on."""
    go = os.path.join(site.folder, "go")
    lease = site.ctl("run", "--detach", "--", "sh", "-c", f"echo ready; while ! test -e {go}; do sleep 0.1; done; seq 1 {LINES}").stdout.strip()
    p = run(site, "attach", lease)
    assert p.stdout.readline() == b"ready\n"
    open(go, "w").close()
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0, err
    check_whole(out)


def test_over_kill_9(site):
    """sluiced and the agent are killed while output comes."""
    p = run(site, "run", "--no-stdin", "--", "seq", "1", str(LINES))
    out = read(p, 3000000)
    site.kill()
    os.kill(agent_pid(site), signal.SIGKILL)
    wait_for(lambda: agent_pid(site) is None, "the agent's end: sluiced starts one when none answers")
    site.start()
    rest, err = p.communicate(timeout=120)
    assert p.returncode == 0, err
    check_whole(out + rest)


def test_a_stuck_reader(site):
    """The program goes on without it; what is lost is said, and is no success."""
    done = os.path.join(site.folder, "done")
    p = run(site, "run", "--no-stdin", "--", "sh", "-c", f"seq 1 {LINES}; touch {done}")
    begin = read(p, 1000)
    time.sleep(WAIT_S / 2)
    assert not os.path.exists(done), "it waits for its reader, for a time"
    wait_for(lambda: os.path.exists(done), "the end of the program", WAIT_S + 30)
    out, err = p.communicate(timeout=60)
    out = begin + out
    assert p.returncode == 123 and len(out) < len(WHOLE) and out.endswith(b"\n%d\n" % LINES)
    missing = len(WHOLE) - len(out)
    gaps = [int(n) for n in re.findall(rb"(\d+) bytes of output are missing here", err)]
    assert gaps and sum(gaps) == missing, err  # the log may have gone on losing while it is read again
    assert f"is incomplete: {missing} bytes are missing".encode() in err
    # its own failure comes first
    p = run(site, "run", "--no-stdin", "--", "sh", "-c", f"seq 1 {LINES}; exit 3")
    read(p, 1000)
    wait_for(lambda: states(site) == ["free", "free"], "its end", WAIT_S + 30)
    assert b"is incomplete" in p.communicate(timeout=60)[1] and p.returncode == 3


def test_a_reader_that_goes(site):
    """It is killed, then nobody attached is waited for."""
    done = os.path.join(site.folder, "done2")
    p = run(site, "run", "--no-stdin", "--", "sh", "-c", f"seq 1 {LINES}; touch {done}")
    read(p, 1000)
    p.kill()
    wait_for(lambda: os.path.exists(done), "the end of the program", WAIT_S + 30)
    p.communicate()


def test_nobody_attached(site):
    lease = site.ctl("run", "--detach", "--", "seq", "1", str(LINES)).stdout.strip()
    wait_for(lambda: site.admin("GET", f"/v1/gpu/leases/{lease}")[1]["state"] == "ended", "the end", 30)
    assert site.ctl("logs", lease).stdout.endswith(f"\n{LINES}\n")


def test_a_full_disk():
    """What a log has no room for is lost, and is no success."""
    with Site(POOL, agent=True) as s:
        state = f"{s.folder}/state-agent"
        os.mkdir(state, 0o700)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", state], capture_output=True).returncode:
            pytest.skip("no mounts here")
        try:
            s.start()
            wait_for(lambda: len(s.admin("GET", "/v1/gpu/devices")[1]) == 2, "devices")
            p = run(s, "run", "--no-stdin", "--", "seq", "1", str(LINES))
            out, err = p.communicate(timeout=120)
            assert p.returncode == 123, err
            assert f"is incomplete: {len(WHOLE) - len(out)} bytes are missing".encode() in err
        finally:
            s.stop()
            s.stop_agent()
            subprocess.run(["umount", state])
