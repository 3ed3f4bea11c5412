# SPDX-License-Identifier: Apache-2.0
"""An engine with faults that we did not write: aimock drops, garbles, cuts and refuses by chance."""
import json
import os
import subprocess
import time

import openai
import pytest
from conftest import node_modules
from sluice_site import Site, free_port


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    package = node_modules("@copilotkit/aimock")
    folder = tmp_path_factory.mktemp("aimock")
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": [{"match": {"userMessage": "hello"}, "response": {"content": "Hello there, how are you today?"}}]}))
    port = free_port()
    bin_ = os.path.join(os.path.dirname(package), "..", ".bin", "llmock")
    p = subprocess.Popen([bin_, "-p", str(port), "-f", str(fixtures), "--chaos-drop", "0.15", "--chaos-malformed", "0.15",
                          "--chaos-disconnect", "0.15"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    if p.poll() is not None:
        pytest.skip("aimock does not start here")
    yield port
    p.kill()
    p.wait()


def test_chaos(mock):
    config = f'workers(1)\nmodel "m" {{ engine = "openai", endpoints = {{ "http://127.0.0.1:{mock}" }}, first_byte = "3s", silence = "3s" }}\n'
    with Site(config) as s:
        s.start()
        c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key=s.key(), max_retries=0, timeout=20)
        fine = failed = 0
        for i in range(60):
            try:
                answer = c.chat.completions.create(model="m", max_tokens=50, stream=i % 2 == 0, messages=[{"role": "user", "content": "hello"}])
                text = "".join(x.choices[0].delta.content or "" for x in answer if x.choices) if i % 2 == 0 else answer.choices[0].message.content
                assert text == "Hello there, how are you today?", "whole, or an error"
                fine += 1
            except (openai.APIError, json.JSONDecodeError):
                failed += 1
        assert fine > 5 and failed > 3
        time.sleep(0.3)
        assert s.metric("sluice_reserved") == 0 and s.process.poll() is None
        assert len([r for r in s.usage_rows() if r["status"] == 200 and "upstream_error" not in json.dumps(r)]) >= fine
