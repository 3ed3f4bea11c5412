#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# On a machine with a GPU that nobody uses: runs the conformance test on the backends whose devices are here, and prints
# what it saw. Devices without a process are scrubbed. Usage: run.sh [BUILD-FOLDER], or none to build one.
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$1
failed=0 found=0
if [ -z "$build" ]; then
	build=$here/build/gpu
	mkdir -p "$build" || exit 1
	[ -x "$here/configure" ] || (cd "$here" && ./bootstrap) || exit 1
	(cd "$build" && "$here/configure" && make -j"$(nproc)") >"$build/log" 2>&1 || { tail "$build/log"; exit 1; }
fi
try() { # name
	found=$((found + 1))
	echo "== backend $1"
	"$build/sluicectl" plugin test "$build/backends/$1/.libs/$1.so" || failed=$((failed + 1))
}
uname -srm
if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L; then
	nvidia-smi --query-gpu=driver_version,memory.total,mig.mode.current --format=csv
	try cuda
fi
if [ -e /dev/kfd ]; then
	grep -H . /sys/class/kfd/kfd/topology/nodes/*/gpu_id
	try hip
fi
[ $found -gt 0 ] || { echo "no GPU here: neither nvidia-smi nor /dev/kfd"; exit 77; }
exit $failed
