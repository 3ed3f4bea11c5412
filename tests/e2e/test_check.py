# SPDX-License-Identifier: Apache-2.0
"""sluiced --check says what could not work, with file and line, before anybody waits for it."""
import os
import subprocess

import pytest
from sluice_site import ROOT, Site

SIM = 'plugin "backend/sim" { devices = { { count = 2, kind = "h100-80g", memory = "80G" } } }\n'


@pytest.fixture
def check(tmp_path):
    os.chmod(tmp_path, 0o755)

    def run(text):
        path = tmp_path / "sluice.lua"
        path.write_text(f'state "{tmp_path}/state"\n' + text)
        os.chmod(path, 0o644)
        p = subprocess.run([os.path.join(ROOT, "sbin", "sluiced"), "--check", "-c", str(path)], capture_output=True, text=True, timeout=60)
        return p.returncode, (p.stdout + p.stderr).replace(f"{path}: fine\n", "")
    return run


@pytest.mark.parametrize("memory", ["80X", "80 G", "G", "80GG", "-1"])
def test_sizes_of_simulated_devices(check, memory):
    code, said = check(f'\nplugin "backend/sim" {{ devices = {{ {{ memory = "{memory}" }} }} }}\n')
    assert code == 78 and "sluice.lua:3: " in said and 'devices[1].memory: expected a size such as "80G"' in said, said


@pytest.mark.parametrize("memory", ["80G", "80GB", "512M", "1024"])
def test_sizes_that_are_fine(check, memory):
    code, said = check(f'plugin "backend/sim" {{ devices = {{ {{ memory = "{memory}" }} }} }}\n')
    assert code == 0 and not said, said


def test_weights_that_are_not_here(check, tmp_path):
    model = SIM + 'model "m" { engine = "llamacpp",\n  weights = "%s" }\n'
    code, said = check(model % f"{tmp_path}/absent.gguf")
    assert code == 0 and said.startswith('sluice.lua:3: warning: model "m" has its weights at ') and "absent.gguf, and there is nothing on this machine" in said, said
    (tmp_path / "here.gguf").write_text("")
    assert check(model % f"{tmp_path}/here.gguf") == (0, "")
    assert check(SIM + f'model "m" {{ endpoints = {{ "http://127.0.0.1:1" }}, weights = "{tmp_path}/absent.gguf" }}\n') == (0, "")


@pytest.mark.parametrize("wants,more", [("gpus = 3", "3 GPUs, and"), ('gpu_kind = "a100-40g"', "1 GPU of kind a100-40g, and"),
                                        ('memory = "96G"', "1 GPU with that much memory, and")])
def test_more_than_all_devices(check, tmp_path, wants, more):
    (tmp_path / "here.gguf").write_text("")
    model = f'\nmodel "m" {{ engine = "llamacpp", weights = "{tmp_path}/here.gguf", '
    code, said = check(SIM + model + wants + " }\n")
    assert code == 0 and f'sluice.lua:4: warning: model "m" needs {more} the declared backends have ' in said, said
    assert check(SIM + model + "gpus = 2 }\n") == (0, "")
    assert check(SIM + 'agent { start = false }\n' + model + wants + " }\n") == (0, ""), "its agent may have others"


def test_no_backend_at_all(check, tmp_path):
    (tmp_path / "here.gguf").write_text("")
    model = f'model "m" {{ engine = "llamacpp", weights = "{tmp_path}/here.gguf",\n  gpus = %d }}\n'
    code, said = check(model % 1)
    assert code == 0 and 'sluice.lua:2: warning: model "m" needs 1 GPU and no backend is declared' in said, said
    assert check(model % 0) == (0, "")
    assert check("agent { start = false }\n" + model % 1) == (0, "")
