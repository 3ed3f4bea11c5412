# SPDX-License-Identifier: Apache-2.0
"""What the tests of sluicectl share: TAP lines, a fake control door, the program itself."""
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback

ROOT = os.environ.get("top_srcdir") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BUILD = os.environ.get("top_builddir") or os.getcwd()
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import fake_control  # noqa: E402

PROGRAM = os.path.join(BUILD, "sluicectl")
SECONDS = 60  # nothing here takes long; a sanitizer's build on a loaded machine may


def read_terminal(master):
    """All that was written to a terminal by programs that have ended."""
    shown = b""
    while select.select([master], [], [], 0.3)[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:  # its other side is closed
            break
    return shown


class Tests:
    """ok() lines are TAP; each test function gets a fresh fake."""

    def __init__(self):
        self.count = self.failed = 0
        self.folder = tempfile.mkdtemp()
        self.socket = os.path.join(self.folder, "control.sock")
        self.fake = fake_control.Fake(self.socket)

    def ok(self, condition, name, *details):
        self.count += 1
        print("%sok %d - %s" % ("" if condition else "not ", self.count, name))
        if not condition:
            self.failed += 1
            for detail in details:
                for line in str(detail).splitlines() or [""]:
                    print("#   " + line)
        sys.stdout.flush()
        return condition

    def same(self, got, wanted, name):
        return self.ok(got == wanted, name, "got    %r" % (got,), "wanted %r" % (wanted,))

    def has(self, text, part, name):
        return self.ok(part in text, name, "got    %r" % (text,), "wanted %r in it" % (part,))

    def environment(self, more=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE_") and k not in ("NO_COLOR",)}
        env.update({"SLUICE_URL": "unix:" + self.socket, "TZ": "UTC", "LC_ALL": "C.UTF-8"})
        env.update(more or {})
        return {k: v for k, v in env.items() if v is not None}

    def start(self, *args, env=None, **more):
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        streams.update(more)
        return subprocess.Popen([PROGRAM, *args], env=self.environment(env), **streams)

    def end(self, process, data=None):
        """Exit code, stdout and stderr as bytes."""
        try:
            out, err = process.communicate(data, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err = (err or b"") + b"[did not end]"
        return process.returncode, out, err

    def bytes(self, *args, env=None, data=None):
        stdin = subprocess.PIPE if data is not None else subprocess.DEVNULL
        return self.end(self.start(*args, env=env, stdin=stdin), data)

    def call(self, *args, env=None):
        code, out, err = self.bytes(*args, env=env)
        return code, out.decode(), err.decode()

    def run(self, functions):
        for function in functions:
            try:
                self.fake.reset()
                self.fake.start()
                function(self)
            except Exception:  # noqa: BLE001 - whatever it is, it is this test's failure
                self.ok(False, function.__name__, traceback.format_exc())
            finally:
                self.fake.stop()
        print("1..%d" % self.count)
        shutil.rmtree(self.folder, ignore_errors=True)
        threading.excepthook = lambda *_: None
        sys.exit(1 if self.failed else 0)


def main(names):
    Tests().run([f for n, f in sorted(names.items(), key=lambda item: getattr(item[1], "__code__", None) and
                                      item[1].__code__.co_firstlineno or 0) if n.startswith("test_")])
