#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The examples build against an installed sluice and nothing else of the tree, and the loader takes them.
# SLUICE_PREFIX names an installed prefix; without it this tree is installed below a temporary folder.
: "${top_srcdir:=.}" "${top_builddir:=.}"
umask 022
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
n=0
ok() { # status, name
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$dir/said"
	fi
}
skip() {
	echo "1..0 # SKIP $1"
	exit 0
}
command -v pkg-config >/dev/null 2>&1 || skip "no pkg-config"
look=$top_builddir/tests/abi/look
[ -n "$CC" ] || CC=$(sed -n 's/^CC = //p' "$top_builddir/Makefile")

if [ -n "$SLUICE_PREFIX" ]; then
	pc=$(find "$SLUICE_PREFIX" -name sluice.pc | head -n 1)
	root=
else
	# MAKEFLAGS: the jobs of the make above are not ours to share.
	env -u MAKEFLAGS -u MFLAGS make -C "$top_builddir" install DESTDIR="$dir/root" >"$dir/said" 2>&1
	ok $? "make install"
	pc=$(find "$dir/root" -name sluice.pc | head -n 1)
	root=$dir/root
fi
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$root"

cp "$top_srcdir"/examples/plugin/* "$dir/" && chmod -R u+w "$dir"
(cd "$dir" && env -u MAKEFLAGS -u MFLAGS make -f Makefile.example CC="${CC:-cc}" CFLAGS="-O1 -Wall -Wextra -Werror") \
	>"$dir/said" 2>&1
ok $? "the examples build with pkg-config --cflags sluice"
for name in smallest office; do
	"$look" "$dir/$name.so" >"$dir/said" 2>&1
	ok $? "$name.so is taken"
	grep -q '^fine$' "$dir/said"
	ok $? "$name.so is called fine"
	symbols=$(nm -D --defined-only "$dir/$name.so" 2>"$dir/said" | awk '{print $NF}' | grep -v '^_')
	[ "$symbols" = sluice_plugin ]
	ok $? "$name.so exports sluice_plugin and nothing else"
done

plugins=$root$(env -u PKG_CONFIG_SYSROOT_DIR pkg-config --variable=plugindir sluice)
ls "$plugins"/*/*.la >/dev/null 2>&1
[ $? -ne 0 ]
ok $? "no .la files are installed"
for file in "$plugins"/*/*.so; do
	"$look" "$file" >"$dir/said" 2>&1
	ok $? "installed ${file#"$plugins"/} is taken"
	symbols=$(nm -D --defined-only "$file" | awk '{print $NF}' | grep -v '^_')
	[ "$symbols" = sluice_plugin ]
	ok $? "${file#"$plugins"/} exports sluice_plugin and nothing else"
done
chmod 0777 "$dir/smallest.so"
"$look" "$dir/smallest.so" >"$dir/said" 2>&1
[ $? -ne 0 ] && grep -q 'writable by everybody' "$dir/said"
ok $? "a plugin that everybody can write is refused"
echo "1..$n"
