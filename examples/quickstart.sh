#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# From a clone to an answer, a job and a bill, on one machine without GPUs. See --help.
set -euo pipefail
from=$PWD
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
	--gguf) gguf=$(cd "$from" && realpath -m -- "${2:?--gguf needs a file}"); shift ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

# Looked at before anything is installed, built or started.
check_gguf() {
	local wrong=
	if [ ! -e "$1" ]; then
		wrong="there is no such file"
	elif [ ! -f "$1" ]; then
		wrong="this is no file"
	elif [ ! -r "$1" ]; then
		wrong="it cannot be read"
	elif [ "$(head -c 4 -- "$1" | tr -d '\0')" != GGUF ]; then
		wrong="this is no GGUF file: it does not begin with GGUF"
	fi
	[ -n "$wrong" ] || return 0
	cat >&2 <<W
examples/quickstart.sh: --gguf $1: $wrong
  Give the path of a model in llama.cpp's format, or leave --gguf out: then a tiny model with random weights is made.
W
	exit 2
}
[ -z "$gguf" ] || check_gguf "$gguf"

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

# A folder and a port of its own, so that others may run one too. sluiced gives up root and must still be able to read
# all of this.
site=$(mktemp -d "${TMPDIR:-/var/tmp}/sluice-quickstart.XXXXXX")
chmod 755 "$site"
python=$build/venv/bin/python
model=$gguf
if [ -z "$gguf" ]; then
	made=$build/quickstart/tiny.gguf model=$site/tiny.gguf
	[ -f "$made" ] || "$python" examples/quickstart/tiny_model.py "$made"
	install -m 644 "$made" "$model"
fi
port=$("$python" -c '
import socket
for port in (8080, 0):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(s.getsockname()[1])
        break')
install -m 755 examples/quickstart/llama_server.py "$site/llama_server.py"
cat >"$site/sluice.lua" <<L
listen "127.0.0.1:$port"
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
	trap - EXIT
	"$python" examples/quickstart/stop.py "$site"
	cp "$site/sluice.lua" "$site/sluiced.log" "$build/quickstart/" 2>/dev/null || true
	rm -rf "$site"
}

say "2. sluiced and its agent"
if [ $keep = 0 ]; then
	trap stop EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
fi
"$prefix/sbin/sluiced" --check -c "$site/sluice.lua"
setsid "$prefix/sbin/sluiced" -c "$site/sluice.lua" >"$site/sluiced.log" 2>&1 &
pid=$!
echo $pid >"$site/sluiced.pid"
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
"$python" - "$key" "$port" <<'P'
import sys, openai
client = openai.OpenAI(base_url=f"http://127.0.0.1:{sys.argv[2]}/v1", api_key=sys.argv[1])
try:
    stream = client.chat.completions.create(model="tiny", max_tokens=48, stream=True, stream_options={"include_usage": True},
                                            messages=[{"role": "user", "content": "Who are you, and what is the time?"}])
    print("> ", end="")
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        if chunk.usage:
            print(f"\n[{chunk.usage.prompt_tokens} tokens in, {chunk.usage.completion_tokens} out]")
except openai.APIError as e:
    sys.exit(f"the chat failed: {e}\n  See build/quickstart/sluiced.log (with --keep: sluiced.log in the folder of this run)")
P

say "4. a job on two GPUs"
ctl run -G 2 -- sh -c 'echo "hello from lease $SLUICE_LEASE on GPUs $CUDA_VISIBLE_DEVICES"'

say "5. what it cost"
ctl usage --by model
ctl leases --all

say "where to look next"
[ $keep = 1 ] && left=$site || left=$build/quickstart
cat <<T
  $prefix/bin/sluicectl help
  $left/sluice.lua       the configuration; man $prefix/share/man/man5/sluice.lua.5
  $left/sluiced.log      a line for each request
  $top/README.md
T
if [ $keep = 1 ]; then
	disown "$pid"
	cat <<T
  running: door http://127.0.0.1:$port/v1, key $key
           $prefix/bin/sluicectl --socket $site/run/control.sock status
  stop it: $top/examples/quickstart/stop.py $site --remove
T
fi
