# SPDX-License-Identifier: Apache-2.0
"""What is installed for systemd: the units, their users and the configuration fit each other, as far as that shows
without systemd."""
import os
import shlex
import shutil
import subprocess
import time

import pytest
from sluice_site import ROOT, free_port

UNITS = os.path.join(ROOT, "lib", "systemd", "system")
SYSUSERS = os.path.join(ROOT, "lib", "sysusers.d", "sluice.conf")


def unit(name):
    """Its settings; each has a list of values."""
    settings = {}
    with open(os.path.join(UNITS, name)) as f:
        for line in f:
            if "=" in line and not line.startswith("#"):
                key, value = line.strip().split("=", 1)
                settings.setdefault(key, []).append(value)
    return settings


def users():
    with open(SYSUSERS) as f:
        return [shlex.split(line)[1] for line in f if line.startswith("u ")]


def agent_command():
    return shlex.split(unit("sluice-agent.service")["ExecStart"][0])


def test_the_service_s_user_is_made_and_served():
    user = unit("sluiced.service")["User"][0]
    command = agent_command()
    assert user in users()
    assert command[command.index("--allow-uid") + 1] == user


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="no systemd-sysusers")
def test_systemd_sysusers_takes_the_file(tmp_path):
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", SYSUSERS], check=True, timeout=30)
    made = [line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()]
    assert set(users()) <= set(made)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_takes_the_units():
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *(os.path.join(UNITS, u) for u in ("sluice-agent.service", "sluiced.service"))],
                          capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "sluice" in line]
    assert ours == [], done.stderr


def test_the_agent_starts_as_its_unit_says(tmp_path):
    """On a machine that has just booted: the folder of the sockets is not there."""
    settings, command = unit("sluice-agent.service"), agent_command()
    run = os.path.dirname(command[command.index("--socket") + 1])
    if "RuntimeDirectory" not in settings:
        before = shlex.split(settings["ExecStartPre"][0])
        subprocess.run([str(tmp_path / "run") if word == run else word for word in before], check=True)
    socket = tmp_path / "run" / "agent.sock"
    command[command.index("--socket") + 1] = str(socket)
    command[command.index("--state") + 1] = str(tmp_path / "state")
    command[command.index("--allow-uid") + 1] = str(os.getuid())
    process = subprocess.Popen([word for word in command if word != "$OPTIONS"], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        while not socket.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert socket.exists(), process.stderr.read() if process.poll() is not None else "no socket"
    finally:
        process.terminate()
        process.wait(20)


def test_one_unit_owns_the_folder_of_the_sockets():
    """systemd gives a RuntimeDirectory and all in it to the unit's user at each start."""
    owners = [u for u in ("sluice-agent.service", "sluiced.service") if "sluice" in unit(u).get("RuntimeDirectory", [])]
    assert owners == ["sluiced.service"]


def test_the_configuration_of_the_readme_is_fine(tmp_path):
    text = subprocess.run([os.path.join(ROOT, "bin", "sluicectl"), "config", "init"], check=True, capture_output=True, text=True).stdout
    file = tmp_path / "sluice.lua"
    file.write_text(text.replace("127.0.0.1:8080", f"127.0.0.1:{free_port()}") + "agent { start = false }\n")
    done = subprocess.run([os.path.join(ROOT, "sbin", "sluiced"), "--check", "-c", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "fine" in done.stdout, done.stderr
