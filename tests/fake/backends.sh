#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The backends against fakes of the vendors' libraries: backends_test.py does the work.
here=$(dirname "$0")
if ! command -v python3 >/dev/null; then
	echo "1..0 # SKIP python3 is not installed"
	exit 0
fi
for name in sim cuda hip; do
	[ -e "$top_builddir/backends/$name/.libs/$name.so" ] || { echo "1..0 # SKIP backend/$name is not built"; exit 0; }
done
PYTHONPATH="$top_srcdir/tests/fault" exec python3 -B "$here/backends_test.py" "$@"
