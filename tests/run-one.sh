#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs one test program. A report of a sanitizer counts as a failure even where the runner would not notice
# (Criterion runs each test in a worker of its own and ignores what the worker's exit handlers find).
program=$1
shift
reports=$(mktemp -d) || exit 99
trap 'rm -rf "$reports"' EXIT
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$reports/asan"
UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}log_path=$reports/ubsan:print_stacktrace=1"
TSAN_OPTIONS="${TSAN_OPTIONS:+$TSAN_OPTIONS:}log_path=$reports/tsan"
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
"$program" --tap=- "$@"
status=$?
if [ -n "$(ls -A "$reports")" ]; then
	cat "$reports"/* | sed 's/^/# /'
	echo "Bail out! a sanitizer reported something, see above"
	exit 1
fi
# A program that died before its plan line is an error of its own; anything else stands in its TAP lines.
[ "$status" -le 1 ] || echo "Bail out! $program ended with status $status"
exit 0
