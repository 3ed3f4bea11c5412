#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# configure cleans up with `rm -f core ...`, and core is a folder of the sources: configure.ac has an rm of its own, which
# leaves that word out. Without it the clean-up stops there, in a build in the source tree, and its files stay behind.
: "${top_srcdir:=.}"
dir=$(mktemp -d) || exit 99
trap 'command rm -rf "$dir"' EXIT
n=0
ok() { # status, name
	n=$((n + 1))
	[ "$1" -eq 0 ] && echo "ok $n - $2" || echo "not ok $n - $2"
}
configure=$(cd "$top_srcdir" && pwd)/configure
mkdir "$dir/core" && cd "$dir" && touch core/kept a.core conftest.c || exit 99

sed -n '/^rm ()/,/^}/p' "$configure" >rm.sh
[ -s rm.sh ]
ok $? "configure has an rm of its own"
line_of() {
	grep -n "$1" "$configure" | head -n 1 | cut -d: -f1
}
defined=$(line_of '^rm ()') first=$(line_of 'checking whether the C compiler works')
[ "${defined:-0}" -gt 0 ] && [ "$defined" -lt "${first:-0}" ]
ok $? "it stands before what must be cleaned up"

. ./rm.sh
rm -f core *.core conftest.none && rm -f -r conftest* 2>said
ok $? "the clean-up goes through"
[ -e core/kept ]
ok $? "the folder stays"
[ ! -e a.core ] && [ ! -e conftest.c ]
ok $? "all else that it names is gone"
echo "1..$n"
