#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What holds for every source file: a licence line, a length, no leftovers; and the arrows between rooms.
: "${top_srcdir:=.}"
cd "$top_srcdir" || exit 99
lines_max=900
n=0
none() { # name, findings
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "$2" | sed 's/^/# /'
	fi
}
sources() {
	find core plugins backends include lua etc examples tests m4 -path tests/fuzz/corpus -prune -o -type d -name '.*' -prune -o \
		-type f \( -name '*.[ch]' -o -name '*.lua' -o -name '*.py' -o -name '*.sh' -o -name '*.mk' -o -name 'sluice*.m4' -o \
		-name '*.service.in' -o -name 'Makefile.example' \) -print
	echo Makefile.am configure.ac bootstrap tests/cli/test_commands tests/cli/test_local tests/cli/test_run tests/cli/test_simulate \
		tests/cli/test_simulate_routing tests/cli/test_table docs/*.[5-8] | tr ' ' '\n'
}
files=$(sources)
[ "$(echo "$files" | wc -l)" -gt 300 ] || none "the sources are found" "only $(echo "$files" | wc -l) files"

none "the licence is in the first three lines" "$(awk '
	FNR == 1 { if (file && !has) print file; file = FILENAME; has = 0 }
	FNR <= 3 && /SPDX-License-Identifier: Apache-2.0/ { has = 1 }
	END { if (!has) print file }' $files)"
none "no file is longer than $lines_max lines" "$(awk -v max=$lines_max 'FNR == max + 1 { print FILENAME }' $files)"
# In pieces, so that this file does not find itself; mktemp's XXXXXX is no leftover.
none "nothing is left for later" "$(grep -nE "(^|[^A-Za-z_])(TO""DO|FIX""ME|XX""X)([^A-Za-z_X+]|\$)" $files)"
none "no line ends in a space" "$(grep -nE '[ 	]+$' $files)"

order=$(sed -n 's,^include core/\([a-z]*\)/local.mk$,\1,p' core/local.mk)
none "every room has its place in core/local.mk" "$(for d in core/*/; do
	d=${d#core/} d=${d%/}; echo "$order" | grep -qx "$d" || echo "$d"; done)"
none "rooms use only rooms above them" "$(echo "$order" | awk '
	FNR == NR { place[$1] = NR; next }
	match($0, /^#[ ]*include "core\/[a-z]+\//) {
		split(FILENAME, own, "/"); split($0, used, "/")
		if (place[used[2]] > place[own[2]]) print FILENAME ":" FNR ": " $0
	}' - core/*/*.[ch])"
none "the core includes no plugin and no test" "$(grep -nE '#[ ]*include "(plugins|backends|tests|examples)/' core/*/*.[ch])"
none "plugins include the public headers alone" "$(grep -nE '#[ ]*include "(core|tests)/' plugins/*/*/*.[ch] backends/*/*.[ch])"
echo "1..$n"
