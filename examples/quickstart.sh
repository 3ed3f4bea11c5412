#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# From a clone to an answer, a job and a bill, on one machine without GPUs. See --help.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
keep=0 gguf=

usage() {
	cat <<'U'
examples/quickstart.sh [--gguf FILE] [--keep]

Installs what is missing (Debian 12; root or sudo), builds sluice into build/quickstart, starts sluiced and its agent
with four simulated GPUs and llama.cpp on the CPU, sends one chat, runs one job, shows usage and bill.

  --gguf FILE  a real model instead of the tiny one with random weights
  --keep       leave everything running, and say how to stop it
U
}

while [ $# -gt 0 ]; do
	case $1 in
	--keep) keep=1 ;;
	--gguf) gguf=$(realpath "${2:?--gguf needs a file}"); shift ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

say "1. what is missing, and the build"
tests/install.sh build
tests/install.sh engine
build=$(realpath build)
mkdir -p build/quickstart/obj
prefix=$build/quickstart/root
[ -x configure ] || ./bootstrap >build/quickstart/bootstrap.log 2>&1
(
	cd build/quickstart/obj
	[ -f Makefile ] || "$top/configure" --prefix="$prefix" --sysconfdir="$prefix/etc" --localstatedir="$prefix/var" \
		CFLAGS="-O2 -g" >../configure.log 2>&1
	make -j"$(nproc)" >../make.log 2>&1 && make install >../install.log 2>&1
) || { echo "the build failed: see build/quickstart/*.log"; exit 1; }

# sluiced gives up root and must still be able to read all of this.
site=${TMPDIR:-/var/tmp}/sluice-quickstart
mkdir -p "$site" && chmod 755 "$site"
python=$build/venv/bin/python
model=${gguf:-$site/tiny.gguf}
[ -n "$gguf" ] || [ -f "$model" ] || "$python" examples/quickstart/tiny_model.py "$model"
chmod 644 "$model" 2>/dev/null || true
install -m 755 examples/quickstart/llama_server.py "$site/llama_server.py"
cat >"$site/sluice.lua" <<L
listen "127.0.0.1:8080"
control "$site/run/control.sock"
state "$site/state"
agent { socket = "$site/run/agent.sock", start = true }
currency "EUR"

plugin "backend/sim" {
  devices = { { count = 4, vendor = "nvidia", model = "Simulated H100", kind = "h100-80g", memory = "80G", island = "nvlink" } },
}
queue "default" {}
queue "models" {}

model "tiny" {
  engine = "llamacpp", weights = "$model",
  options = { binary = { "$python", "$site/llama_server.py" }, unix_socket = false },
  gpus = 1, queue = "models", replicas = { min = 0, max = 2 }, concurrency = 4, max_output = 256,
  price = { input = "0.10", cached = "0.02", output = "0.40" },
}

tier "free" { requests = { 1000, per = "day" }, tokens = { 200000, per = "minute" } }
tenant "demo" { tier = "free", queues = { "default" } }
L
ctl() { "$prefix/bin/sluicectl" --socket "$site/run/control.sock" "$@"; }

stop() {
	[ -n "${pid:-}" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	# The agent and what runs on leases outlive sluiced on purpose: end them too.
	pkill -TERM -f "sluice-agent.*$site/" 2>/dev/null || true
	sleep 0.3
	pkill -KILL -f "$site/" 2>/dev/null || true
	return 0
}
pkill -KILL -f "$site/" 2>/dev/null || true
rm -rf "$site/state" "$site/run"

say "2. sluiced and its agent"
"$prefix/sbin/sluiced" --check -c "$site/sluice.lua"
setsid "$prefix/sbin/sluiced" -c "$site/sluice.lua" >"$site/sluiced.log" 2>&1 &
pid=$!
[ $keep = 1 ] || trap stop EXIT
for _ in $(seq 100); do
	ctl status --json 2>/dev/null | grep -q '"ready": *true' && break
	kill -0 $pid 2>/dev/null || { cat "$site/sluiced.log"; exit 1; }
	sleep 0.1
done
ctl status
ctl devices

say "3. a key, and a chat through the openai client (the first request starts the engine)"
key=$(ctl keys create --tenant demo --json | "$python" -c 'import json,sys; print(json.load(sys.stdin)["secret"])')
[ -n "$gguf" ] || echo "the tiny model has random weights: what it says is noise"
"$python" - "$key" <<'P'
import sys, openai
client = openai.OpenAI(base_url="http://127.0.0.1:8080/v1", api_key=sys.argv[1])
stream = client.chat.completions.create(model="tiny", max_tokens=48, stream=True, stream_options={"include_usage": True},
                                        messages=[{"role": "user", "content": "Who are you, and what is the time?"}])
print("> ", end="")
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    if chunk.usage:
        print(f"\n[{chunk.usage.prompt_tokens} tokens in, {chunk.usage.completion_tokens} out]")
P

say "4. a job on two GPUs"
ctl run -G 2 -- sh -c 'echo "hello from lease $SLUICE_LEASE on GPUs $CUDA_VISIBLE_DEVICES"'

say "5. what it cost"
ctl usage --by model
ctl leases --all

say "where to look next"
cat <<T
  $prefix/bin/sluicectl --socket $site/run/control.sock help
  $site/sluice.lua       the configuration; man $prefix/share/man/man5/sluice.lua.5
  $site/sluiced.log      a line for each request
  $top/README.md
T
if [ $keep = 1 ]; then
	disown "$pid"
	cat <<T
  running: door http://127.0.0.1:8080/v1, key $key
  stop it: kill $pid; pkill -f $site/
T
fi
