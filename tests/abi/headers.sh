#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every public header compiles alone, in the languages that people write plugins in.
: "${top_srcdir:=.}" "${top_builddir:=.}" "${CXX:=c++}"
[ -n "$CC" ] || CC=$(sed -n "s/^CC = //p" "$top_builddir/Makefile" 2>/dev/null)
: "${CC:=cc}"
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
n=0
try() { # name, file, compiler and flags
	name=$1 file=$2
	shift 2
	n=$((n + 1))
	if "$@" -I"$top_srcdir/include" -Wall -Wextra -Werror -fsyntax-only "$file" 2>"$dir/said"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$dir/said"
	fi
}
for header in "$top_srcdir"/include/sluice/*.h; do
	h=${header##*/}
	printf '#include <sluice/%s>\n#include <sluice/%s>\nextern int unused_;\n' "$h" "$h" >"$dir/one.c"
	cp "$dir/one.c" "$dir/one.cc"
	try "$h as C99" "$dir/one.c" $CC -std=c99 -pedantic
	try "$h as C17" "$dir/one.c" $CC -std=c17 -pedantic
	if command -v ${CXX%% *} >/dev/null 2>&1; then
		try "$h as C++11" "$dir/one.cc" $CXX -std=c++11
	else
		n=$((n + 1))
		echo "ok $n - $h as C++11 # SKIP no C++ compiler"
	fi
done
echo "1..$n"
