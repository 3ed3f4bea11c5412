#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the fuzz targets with clang, libFuzzer and sanitizers, and runs each for SECONDS (default: 60).
# usage: tests/fuzz/run.sh [SECONDS]        FUZZ_BUILD: where to build (default: build-fuzz in the source tree)
# New inputs stay in $FUZZ_BUILD/corpus; what breaks a target is left as $FUZZ_BUILD/TARGET-crash-...
set -e
seconds=${1:-60}
top=$(cd "$(dirname "$0")/../.." && pwd)
build=${FUZZ_BUILD:-$top/build-fuzz}
[ -x "$top/configure" ] || "$top/bootstrap"
mkdir -p "$build"
cd "$build"
[ -f Makefile ] || "$top/configure" -q CC="${CC:-clang}" CFLAGS="-O1 -g" --enable-fuzzing \
	--enable-sanitizer=address,undefined
status=0
for target in fuzz_http fuzz_sse fuzz_body fuzz_messages fuzz_jwt; do
	make -s "tests/fuzz/$target"
	mkdir -p "corpus/$target"
	echo "== $target, $seconds s"
	"tests/fuzz/$target" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 -artifact_prefix="$build/$target-" \
		"corpus/$target" "$top/tests/fuzz/corpus/$target" >"$target.out" 2>&1 || status=1
	tail -n 12 "$target.out"
done
exit $status
