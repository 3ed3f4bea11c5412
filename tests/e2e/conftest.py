# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_engine import Engine  # noqa: E402
from sluice_site import ROOT, TOP, Site  # noqa: E402

if not os.path.exists(os.path.join(ROOT, "sbin", "sluiced")):
    pytest.exit(f"there is no installed tree at {ROOT}: run tests/run.sh", 1)


def model(engine, name="m", extra=""):
    return f'''
model "{name}" {{ engine = "openai", endpoints = {{ {{ url = "{engine.url}", concurrency = 256 }} }}, concurrency = 256,
  first_byte = "5s", silence = "3s", wait = "5s", max_output = 4096,
  price = {{ input = "0.10", cached = "0.02", output = "0.40" }}, {extra} }}
'''


@pytest.fixture(scope="module")
def engine():
    e = Engine()
    yield e
    e.stop()


@pytest.fixture(scope="module")
def site(engine):
    """One daemon with one model on an engine that misbehaves on demand."""
    with Site('workers(2)\nlimits { body = "2M", header = "2s", body_time = "3s", idle = "5s", write = "3s" }\n' + model(engine)) as s:
        s.start()
        s.secret = s.key()
        yield s


@pytest.fixture(scope="session")
def tiny():
    """A tiny real model."""
    import subprocess
    folder = tempfile.mkdtemp(prefix="sluice-test-model-")
    os.chmod(folder, 0o755)
    path = os.path.join(folder, "tiny.gguf")
    subprocess.run([sys.executable, os.path.join(TOP, "examples", "quickstart", "tiny_model.py"), path], check=True)
    os.chmod(path, 0o644)
    yield path
    shutil.rmtree(folder, ignore_errors=True)


def node_modules(name):
    path = os.path.join(TOP, "build", "node", "node_modules", name)
    if not shutil.which("node") or not os.path.isdir(path):
        pytest.skip(f"node or its package {name} is not here")
    return path
