#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs all tests: make check, then the end-to-end ones against an installed tree.
#   tests/run.sh [--quick]     --quick: leave out the long ones (crash rounds)
# Ends with one line: N passed, N failed, N skipped. Exit status 0 when nothing failed.
set -uo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --quick ] && export SLUICE_QUICK=1
top=$PWD
export TMPDIR=${TMPDIR:-/tmp}

tests/install.sh test || exit 1
[ -x configure ] || ./bootstrap >build/bootstrap.log 2>&1 || { cat build/bootstrap.log; exit 1; }
build=$(realpath build)
mkdir -p build/check && cd build/check
if [ ! -f Makefile ]; then
	"$top/configure" --enable-werror --prefix="$build/root" --sysconfdir="$build/root/etc" \
		--localstatedir="$build/root/var" CFLAGS="-O2 -g" >configure.log 2>&1 || { tail -30 configure.log; exit 1; }
	sed -n '/^  sluice /,$p' configure.log
fi
make -j"$(nproc)" >make.log 2>&1 || { grep -B2 -A5 -E 'error|Error' make.log | tail -60; exit 1; }
make install >install.log 2>&1 || { tail -30 install.log; exit 1; }
make -j"$(nproc)" check >check.log 2>&1
count() { sed -n "s/^# $1: *//p" check.log | tail -1; }
passed=$(count PASS) failed=$(count FAIL) skipped=$(count SKIP) errors=$(count ERROR)
grep -E '^(FAIL|ERROR)' check.log
grep -E '^SKIP' check.log
if [ -z "$passed" ]; then
	tail -40 check.log
	failed=1 passed=0 skipped=0 errors=0
fi
failed=$((failed + errors))
echo "make check: $passed passed, $failed failed, $skipped skipped"

cd "$top"
export SLUICE_ROOT=$build/root
build/venv/bin/python -m pytest -q -rs -p no:cacheprovider tests/e2e --junitxml=build/e2e.xml
end=$?
read -r e2e_passed e2e_failed e2e_skipped <<<"$(build/venv/bin/python - build/e2e.xml <<'P'
import sys, xml.etree.ElementTree as tree
try:
    s = tree.parse(sys.argv[1]).getroot().find("testsuite")
    n, bad, skip = int(s.get("tests")), int(s.get("failures")) + int(s.get("errors")), int(s.get("skipped"))
    print(n - bad - skip, bad, skip)
except Exception:
    print(0, 1, 0)
P
)"
[ $end = 0 ] || [ "$e2e_failed" != 0 ] || e2e_failed=1
echo "$((passed + e2e_passed)) passed, $((failed + e2e_failed)) failed, $((skipped + e2e_skipped)) skipped"
[ $((failed + e2e_failed)) = 0 ]
