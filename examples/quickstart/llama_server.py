#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's own server with the command line of llama-server, from the Python package xllamacpp: the same engine
where nobody wants to compile it. Takes the options that sluice's engine file uses; others are ignored with a word.

    llama_server.py -m FILE.gguf --host 127.0.0.1 --port 9000 [--alias NAME] [-np SLOTS] [-c CONTEXT] [--metrics]
"""
import argparse
import signal
import sys

import xllamacpp


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("-m", "--model", required=True)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, default=8081)
    p.add_argument("-a", "--alias")
    p.add_argument("-np", "--parallel", type=int, default=4)
    p.add_argument("-c", "--ctx-size", type=int, default=16384)
    p.add_argument("-t", "--threads", type=int, default=1)
    p.add_argument("--metrics", action="store_true")
    p.add_argument("--embedding", action="store_true")
    a, others = p.parse_known_args()
    if others:
        print("llama_server.py: not used: " + " ".join(others), file=sys.stderr)
    params = xllamacpp.CommonParams()
    params.model.path = a.model
    params.hostnames = [a.host]
    params.port = a.port
    params.n_parallel = a.parallel
    params.n_ctx = a.ctx_size
    params.endpoint_metrics = a.metrics
    params.warmup = False
    # Its threads spin while they wait for each other: more than there are cores would make a token take a second.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = a.threads
    if a.alias:
        params.model_alias = {a.alias}
    if a.embedding:
        params.embedding = True
    server = xllamacpp.Server(params)
    print("listening on", server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
