#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Faults around sluice-agent: agent_test.py does the work, with nothing but Python's own library.
here=$(dirname "$0")
if ! command -v python3 >/dev/null; then
	echo "1..0 # SKIP python3 is not installed"
	exit 0
fi
[ -e "$top_builddir/backends/sim/.libs/sim.so" ] || { echo "1..0 # SKIP backend/sim is not built"; exit 0; }
exec python3 -B "$here/agent_test.py" "$@"
