# SPDX-License-Identifier: Apache-2.0
"""The official clients notice nothing."""
import json
import os
import subprocess

import openai
import pytest
from conftest import node_modules


def client(site):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.secret, max_retries=0)


def test_python_plain(site):
    a = client(site).chat.completions.create(model="m", max_tokens=4, messages=[{"role": "user", "content": "hello"}])
    assert a.choices[0].message.content == "t0 t1 t2 t3" and a.usage.prompt_tokens == 11 and a.usage.completion_tokens == 4


def test_python_stream(site):
    text, usage = "", None
    for chunk in client(site).chat.completions.create(model="m", max_tokens=4, stream=True, stream_options={"include_usage": True},
                                                      messages=[{"role": "user", "content": "hello"}]):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    assert text == "t0 t1 t2 t3 " and usage.completion_tokens == 4


def test_python_completions_and_embeddings(site):
    c = client(site)
    assert c.completions.create(model="m", prompt="hello", max_tokens=3).choices[0].text == "t0 t1 t2"
    e = c.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    assert e.data[0].embedding == [0.5, 0.25] and e.usage.prompt_tokens == 7


def test_python_models(site):
    assert [m.id for m in client(site).models.list()] == ["m"]
    assert client(site).models.retrieve("m").id == "m"
    with pytest.raises(openai.NotFoundError):
        client(site).models.retrieve("nope")


def test_python_errors(site):
    with pytest.raises(openai.NotFoundError) as e:
        client(site).chat.completions.create(model="nope", messages=[{"role": "user", "content": "x"}])
    assert e.value.code == "model_not_found" and e.value.request_id.startswith("req_")
    bad = openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key="slk_wrong", max_retries=2)
    with pytest.raises(openai.AuthenticationError):
        bad.models.list()


NODE = """
import OpenAI from 'openai';
const c = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3], maxRetries: 0 });
const plain = await c.chat.completions.create({ model: 'm', max_tokens: 4, messages: [{ role: 'user', content: 'hello' }] });
let text = '';
for await (const chunk of await c.chat.completions.create({ model: 'm', max_tokens: 4, stream: true, messages: [{ role: 'user', content: 'hello' }] }))
  text += chunk.choices[0]?.delta?.content ?? '';
let broke = '';
try {
  for await (const chunk of await c.chat.completions.create({ model: 'm', max_tokens: 9, stream: true, messages: [{ role: 'user', content: 'fault=fin n=5' }] })) ;
} catch (e) { broke = e.code ?? e.message; }
console.log(JSON.stringify({ plain: plain.choices[0].message.content, text, broke }));
"""


def test_node(site, tmp_path):
    where = os.path.dirname(node_modules("openai"))
    script = os.path.join(os.path.dirname(where), f"client-{os.getpid()}.mjs")
    with open(script, "w") as f:
        f.write(NODE)
    try:
        p = subprocess.run(["node", script, f"http://127.0.0.1:{site.port}/v1", site.secret], capture_output=True, text=True, timeout=60)
    finally:
        os.unlink(script)
    assert p.returncode == 0, p.stderr
    got = json.loads(p.stdout)
    assert got["plain"] == "t0 t1 t2 t3" and got["text"] == "t0 t1 t2 t3 " and got["broke"] == "upstream_error"


def test_every_answer_has_its_row(site):
    c = client(site)
    before = len(site.usage_rows())
    ids = {c.chat.completions.with_raw_response.create(model="m", max_tokens=2, messages=[{"role": "user", "content": "x"}]).headers["x-request-id"]
           for _ in range(20)}
    rows = site.usage_rows()
    assert len(rows) == before + 20 and ids <= {r["request_id"] for r in rows}
    row = rows[0]
    # 7 of 11 input tokens at 0.10, 4 cached at 0.02, 2 output at 0.40, per million
    assert row["cost"] == "0.00000158" and (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (11, 4, 2)
