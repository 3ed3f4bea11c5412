# SPDX-License-Identifier: Apache-2.0
"""Engines that root's sluiced runs as another user: who can reach them, and who is taken for them."""
import http.server
import json
import os
import pwd
import subprocess
import threading
import time

import pytest
from sluice_site import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="engines run as another user than sluiced: needs root")

ENGINE_FILE = """
return { unix_socket = true, command = function(model, replica, listen)
  return { "/usr/bin/python3", model.options.program, listen.unix or listen.port, model.options.gate }
end }
"""
# Listens once there is a file `gate`, and says who it is.
PROGRAM = """
import http.server, json, os, socketserver, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        data = json.dumps({"uid": os.getuid(), "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_GET = do_POST = answer
    def address_string(self):
        return ""
class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
at = sys.argv[1]
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(at)), Handler) if at.isdigit() else Unix(at, Handler)
server.serve_forever()
"""
CONFIG = '''
workers(1)
plugin "backend/sim" {{ devices = {{ {{ count = 1, kind = "h100-80g", memory = "80G" }} }} }}
model "own" {{ engine = "own", gpus = 1, replicas = {{ min = 1, max = 1 }}, wait = "30s",
  options = {{ program = "{program}", gate = "{gate}", unix_socket = {unix} }} }}
'''


def own_engine(unix):
    s = Site("", agent=True)
    os.mkdir(os.path.join(s.folder, "engines"))
    s.write("engines/own.lua", ENGINE_FILE)
    s.gate = os.path.join(s.folder, "gate")
    s.configure(CONFIG.format(program=s.write("engine.py", PROGRAM), gate=s.gate, unix="true" if unix else "false"))
    return s


def replica_of(s):
    return (s.admin("GET", "/v1/replicas?all=1")[1] or [{}])[0]


def wait_for(what, name, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {name}")


def test_socket_is_for_sluiced_alone():
    with own_engine(True) as s:
        s.write("gate", "")
        s.start()
        wait_for(lambda: replica_of(s).get("state") == "ready", "a replica")
        path = replica_of(s)["address"].removeprefix("unix:")
        assert path.startswith(s.folder + "/state-engines/"), path
        uid = json.loads(s.chat(s.key(), model="own")[2])["uid"]
        service, made, folder = pwd.getpwnam("daemon"), os.stat(path), os.stat(os.path.dirname(path))
        assert uid not in (0, service.pw_uid)
        assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (uid, service.pw_gid, 0o770)
        assert (folder.st_uid, folder.st_gid, folder.st_mode & 0o7777) == (uid, service.pw_gid, 0o2770)
        games = pwd.getpwnam("games")
        p = subprocess.run(["/usr/bin/python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"], user=games.pw_uid,
                           group=games.pw_gid, extra_groups=[], capture_output=True, text=True)
        assert p.returncode and "PermissionError" in p.stderr, p.stderr
        s.kill()
        s.start()
        assert json.loads(s.chat(s.key(), model="own")[2])["uid"] == uid, "taken over"
        s.admin("POST", "/v1/models/own/stop", {})
        wait_for(lambda: not os.path.exists(path), "the end of the socket")


class Stranger(http.server.BaseHTTPRequestHandler):
    paths = []

    def do_GET(self):
        self.paths.append(self.path)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        self.paths.append("a prompt!")
        self.do_GET()

    def log_message(self, *_):
        pass


def test_stranger_on_the_port_gets_no_request():
    with own_engine(False) as s:
        s.start()
        wait_for(lambda: replica_of(s).get("address"), "an address")
        port = int(replica_of(s)["address"].rsplit(":", 1)[1])
        stranger = http.server.ThreadingHTTPServer(("127.0.0.1", port), Stranger)
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        wait_for(lambda: len(Stranger.paths) > 2, "health checks")
        replica = replica_of(s)
        assert replica["state"] == "starting" and "not this replica's" in replica["why"], replica
        answers = []
        client = threading.Thread(target=lambda: answers.append(s.chat(key, model="own")))
        key = s.key()
        client.start()
        wait_for(lambda: s.admin("GET", "/v1/models")[1][0]["waiting"] == 1, "a request that waits")
        stranger.shutdown()
        stranger.server_close()
        s.write("gate", "")
        client.join()
        assert answers[0][0] == 200 and json.loads(answers[0][2])["uid"] != 0
        assert set(Stranger.paths) == {"/health"}
