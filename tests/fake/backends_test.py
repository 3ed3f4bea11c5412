# SPDX-License-Identifier: Apache-2.0
"""The three backends: what they promise, and the faults that the fakes of the vendors' libraries play."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

from agent_client import Agent, BUILD, Client, Tap

tap = Tap()
NVML, DRIVER = BUILD + "/tests/fake/.libs/nvml.so", BUILD + "/tests/fake/.libs/driver.so"
GPUS = ["GPU-00000000-0000-0000-0000-%012d" % i for i in range(4)]
SLICE = "MIG-00000000-0000-0000-0000-000000000001"
MIB = 1 << 20


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


class Nvidia:
    """GPUs 0 and 1 are linked, 2 is alone, 3 is cut into one slice."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder + "/nvidia.json"
        os.makedirs(folder + "/states")
        self.script = {"driver": "570.1", "states": folder + "/states", "gpus": []}
        for i, uuid in enumerate(GPUS):
            gpu = {"uuid": uuid, "name": "NVIDIA H100 80GB HBM3", "bus": "00000000:%02X:00.0" % (i + 26), "used": 0,
                   "memory": 81559 * MIB, "busy": 0, "temperature": 40, "power": 70000, "ecc": 0, "corrected": 3,
                   "remap": [0, 0, 0, 0], "action": 0, "processes": [], "file": "%s/memory%d" % (folder, i)}
            self.fill(i)
            self.script["gpus"].append(gpu)
        self.script["gpus"][0]["peers"] = [1]
        self.script["gpus"][1]["peers"] = [0]
        self.script["gpus"][3]["mig"] = [{"uuid": SLICE, "gi": 7, "ci": 0, "name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
                                          "memory": 9984 * MIB, "used": 0}]
        self.save()
        os.environ["SLUICE_FAKE_GPUS"] = self.file

    def fill(self, i):
        with open("%s/memory%d" % (self.folder, i), "wb") as f:
            f.write(b"secret! " * (8 * MIB // 8))

    def keeps(self, i):
        with open("%s/memory%d" % (self.folder, i), "rb") as f:
            return b"secret" in f.read()

    def save(self):
        write(self.file, json.dumps(self.script))

    def gpu(self, i, **fields):
        self.script["gpus"][i].update(fields)
        self.save()


def amd_tree(folder):
    """Two MI210 with a link, and a MI300X in two partitions."""
    nodes = folder + "/sys/class/kfd/kfd/topology/nodes"
    write(nodes + "/0/gpu_id", "0\n")
    cards = [(1001, 0xabc1, 128, 90010, 0x900), (1002, 0xabc2, 129, 90010, 0xa00), (1003, 0xdef, 130, 90402, 0x500),
             (1004, 0xdef, 131, 90402, 0x501)]
    for i, (gpu_id, unique, minor, version, at) in enumerate(cards):
        device = "%s/sys/class/drm/renderD%d/device" % (folder, minor)
        write("%s/%d/gpu_id" % (nodes, i + 1), "%d\n" % gpu_id)
        write("%s/%d/properties" % (nodes, i + 1), "simd_count 416\nunique_id %d\nlocation_id %d\ndomain 0\n"
              "drm_render_minor %d\ngfx_target_version %d\nhive_id %d\n" % (unique, at, minor, version, 77 if i < 2 else 0))
        write(device + "/mem_info_vram_total", "%d\n" % (64 << 30))
        write(device + "/mem_info_vram_used", "0\n")
        write(device + "/gpu_busy_percent", "12\n")
        write(device + "/numa_node", "1\n")
        write(device + "/ras/umc_err_count", "ue: 0\nce: 2\n")
        write(device + "/hwmon/hwmon%d/temp1_input" % i, "51000\n")
        write(device + "/hwmon/hwmon%d/power1_average" % i, "41000000\n")
        write(device + "/product_name", "AMD Instinct MI210\n" if i < 2 else "AMD Instinct MI300X\n")
        if i < 2:
            write("%s/hip/GPU-%016x" % (folder, unique), "secret! " * (MIB // 8))
        else:
            write("%s/hip/%d" % (folder, i), "secret! " * (MIB // 8))
    os.environ["SLUICE_FAKE_HIP"] = folder + "/hip"


def conform(file, *options):
    command = [BUILD + "/sluicectl", "plugin", "test", file, "--json"]
    for option in options:
        command += ["--option", option]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return done.returncode, {c["check"]: (c["result"], c["why"]) for c in json.loads(done.stdout)["checks"]}
    except (ValueError, KeyError):
        return done.returncode, {"?": (done.stdout, done.stderr)}


def plugin(name):
    return "%s/backends/%s/.libs/%s.so" % (BUILD, name, name)


CUDA = ["nvml=" + NVML, "driver=" + DRIVER, "settle=\"300ms\""]


def conformance(folder):
    nvidia = Nvidia(folder)
    nvidia.script["gpus"][3]["mig"] = []
    nvidia.save()
    for name, options in (("sim", ["devices=[{\"count\":3,\"slices\":2}]"]), ("cuda", CUDA),
                          ("hip", ["root=" + folder, "runtime=" + BUILD + "/tests/fake/.libs/hip.so"])):
        if name == "hip":
            amd_tree(folder)
        code, checks = conform(plugin(name), *options)
        failed = {k: v for k, v in checks.items() if v[0] == "failed"}
        tap.ok(code == 0 and not failed and checks["release"][0] == "ok", "%s keeps its promises" % name, checks)
    _, checks = conform(plugin("cuda"), *CUDA)
    tap.ok(all(checks[c][0] == "ok" for c in ("about", "telemetry", "processes", "events", "check", "suspend")),
           "cuda has all of 1.1", checks)
    tap.ok(not nvidia.keeps(0) and not nvidia.keeps(2), "cuda overwrites memory")
    with open(folder + "/hip/GPU-000000000000abc1") as f:
        tap.ok("secret" not in f.read(), "hip overwrites memory")
    code, checks = conform(plugin("cuda"), "nvml=/nonexistent/libnvidia-ml.so.1")
    tap.ok(code == 1 and checks["open"][0] == "failed" and "no NVIDIA driver here" in checks["open"][1],
           "without a driver cuda is off, and says why", checks)
    code, checks = conform(plugin("hip"), "root=/nonexistent")
    tap.ok(code == 1 and "no AMD GPU here" in checks["open"][1], "without a GPU hip is off, and says why", checks)
    code, checks = conform(BUILD + "/tests/fake/.libs/wrong.so")
    tap.same(code, 1, "a wrong backend does not pass")
    for check, words in (("uuids", "same"), ("devices-room", "beyond its room"), ("sample", "1 samples of 2"),
                         ("prepare", "'='"), ("prepare-room", "no variable is needed"), ("prepare-unknown", "no error"),
                         ("release", "no ended text|without a word|code in its error"), ("release-unknown", "killed its process|ended its process"),
                         ("about", "did not return within 5 s"), ("suspend", "belong together")):
        result, why = checks.get(check, ("missing", ""))
        tap.ok(result == "failed" and any(w in why for w in words.split("|")), "wrong: " + check, checks.get(check))
    tap.same(checks["stable"][0], "ok", "and what it does right is right")


class Both(Agent):
    """An agent with NVIDIA devices and simulated ones."""

    def __init__(self, options):
        super().__init__("--allow-uid", str(os.getuid()))
        self.kill()
        shutil.copy(plugin("cuda"), self.folder + "/plugins/backend/")
        with open(self.folder + "/agent.json") as f:
            config = json.load(f)
        config["backends"].append({"name": "cuda", "options": options})
        with open(self.folder + "/agent.json", "w") as f:
            json.dump(config, f)
        self.up()

    def wait(self, what, found, timeout=30):
        end = time.monotonic() + timeout
        client = Client(self.socket)
        while True:
            answer = client.ok("devices")
            if found(answer, {d["uuid"]: d for d in answer["devices"]}):
                return tap.ok(True, what)
            if time.monotonic() > end:
                return tap.ok(False, what, answer)
            time.sleep(0.1)


def state_of(answer, name):
    return [b for b in answer["backends"] if b["name"] == name][0]


def in_agent(folder):
    nvidia = Nvidia(folder)
    agent = Both({"nvml": NVML, "driver": DRIVER, "settle": 300, "scrub_timeout": 1500})
    agent.wait("cuda runs", lambda a, d: state_of(a, "cuda")["state"] == "running" and GPUS[0] in d)
    c = Client(agent.socket)
    tap.ok("driver 570.1" in state_of(c.ok("devices"), "cuda")["about"], "and says what it found", state_of(c.ok("devices"), "cuda"))
    d = {x["uuid"]: x for x in c.ok("devices")["devices"] if x["backend"] == "cuda"}
    tap.same(sorted(d), sorted(GPUS[:3] + [SLICE]), "GPUs, and the slice in the place of the GPU that is cut")
    tap.same((d[GPUS[0]]["kind"], d[GPUS[0]]["bus"], d[GPUS[0]]["temperature_c"]), ("h100-80g", "0000:1a:00.0", 40), "kind, bus")
    tap.ok(d[GPUS[0]]["island"] and d[GPUS[0]]["island"] == d[GPUS[1]]["island"] and not d[GPUS[2]]["island"], "islands", d)
    tap.same((d[SLICE]["kind"], d[SLICE]["parent"], d[SLICE]["isolation"]), ("h100-1g.10gb", GPUS[3], "partition"), "the slice")

    def lease(name, *uuids):
        return c.run(name, ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"], devices=list(uuids), uid=os.getuid(), gid=os.getgid())

    ended, out, _ = lease("A1", GPUS[1], GPUS[0])
    tap.same((out, ended["faulty"]), ("%s,%s\n" % (GPUS[1], GPUS[0]), []), "a program sees its devices, and they come back well")
    tap.ok(not nvidia.keeps(0) and not nvidia.keeps(1) and nvidia.keeps(2), "their memory is overwritten, and no other")

    def faulty(name, words, **fields):
        before = dict(nvidia.script["gpus"][0])
        nvidia.gpu(0, **fields)
        ended, _, _ = lease(name, GPUS[0], GPUS[1])
        tap.ok([f["uuid"] for f in ended["faulty"]] == [GPUS[0]] and words in ended["faulty"][0]["reason"],
               "%s: that device alone is faulty" % words, ended)
        nvidia.script["gpus"][0] = before
        nvidia.save()

    faulty("B1", "computes wrong", wrong=True)
    faulty("B2", "keeps what was there", forgets=True)
    faulty("B3", "process 4242 is still on it", processes=[{"pid": 4242, "memory": MIB}])
    faulty("B4", "are in use though nobody is on it", used=2 << 30)
    nvidia.script["fail"] = {"cuMemsetD32_v2": 214}
    nvidia.save()
    tap.ok("uncorrectable ECC error" in lease("B5", GPUS[2])[0]["faulty"][0]["reason"], "an ECC error met by the scrub")
    nvidia.script["fail"] = {}
    nvidia.script["hang"] = ["cuCtxSynchronize"]
    nvidia.save()
    ended = lease("B6", GPUS[2])[0]
    tap.ok("hangs in the driver" in ended["faulty"][0]["reason"], "a scrub that hangs is its device's fault", ended)
    tap.same(state_of(c.ok("devices"), "cuda")["state"], "running", "and not its backend's")
    nvidia.script["hang"] = []
    nvidia.save()

    nvidia.gpu(0, action=1)
    agent.wait("a GPU that asks for a reset is faulty", lambda a, d: d[GPUS[0]]["health"] == "faulty")
    nvidia.gpu(0, action=0, remap=[0, 1, 1, 0])
    agent.wait("memory that waits for a reset is a warning", lambda a, d: d[GPUS[0]]["health"] == "degraded")
    nvidia.gpu(0, remap=[0, 0, 0, 0])
    agent.wait("and is gone with it", lambda a, d: d[GPUS[0]]["health"] == "ok")
    nvidia.script["events"] = [{"gpu": 0, "data": 31}, {"gpu": 1, "data": 79}]
    nvidia.save()
    agent.wait("Xid 79 is the end of its GPU", lambda a, d: d[GPUS[1]]["health"] == "lost" and "Xid 79" in d[GPUS[1]]["reason"])
    tap.same({x["uuid"]: x for x in c.ok("devices")["devices"]}[GPUS[0]]["health"], "ok", "Xid 31 is its program's fault")
    nvidia.gpu(2, lost=True)
    agent.wait("a lost GPU is lost, others are not", lambda a, d: d[GPUS[2]]["health"] == "lost" and d[GPUS[0]]["health"] == "ok")
    nvidia.script["gpus"].reverse()
    nvidia.gpu(1, lost=False)
    agent.wait("it comes back, whatever its number", lambda a, d: d[GPUS[2]]["health"] == "ok")

    nvidia.script["hang"] = ["nvmlDeviceGetMemoryInfo_v2"]
    nvidia.save()
    agent.wait("a call that hangs costs its backend", lambda a, d: state_of(a, "cuda")["state"] != "running" and
               d[GPUS[0]]["health"] == "lost")
    tap.same(state_of(c.ok("devices"), "sim")["state"], "running", "and no other one")
    sim = [x["uuid"] for x in c.ok("devices")["devices"] if x["backend"] == "sim"][0]
    tap.same(lease("C1", sim)[0]["exit_code"], 0, "whose devices are granted on")
    nvidia.script["hang"] = []
    nvidia.save()
    agent.wait("it is started anew when the driver answers", lambda a, d: state_of(a, "cuda")["state"] == "running" and
               d[GPUS[0]]["health"] == "ok", 90)
    tap.same(agent.end(), 0, "the agent ends as told")


for test in (conformance, in_agent):
    place = tempfile.mkdtemp(prefix="sluice-backends-test.")
    os.chmod(place, 0o755)
    try:
        test(place)
    except Exception:
        tap.ok(False, test.__name__, traceback.format_exc())
    finally:
        shutil.rmtree(place)
sys.exit(tap.done())
