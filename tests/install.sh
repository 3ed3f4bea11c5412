#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building and testing need, where it is missing. Debian 12; root, or sudo.
#   tests/install.sh build    what the build needs
#   tests/install.sh engine   a Python environment in build/venv with clients and llama.cpp's server
#   tests/install.sh test     what the tests need beside both
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

packages() {
	local missing=()
	for p in "$@"; do
		dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} = 0 ] && return
	echo "installing: ${missing[*]}"
	as_root apt-get update -qq
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build() {
	packages gcc libc6-dev make autoconf automake libtool pkg-config libuv1-dev libjansson-dev liblua5.4-dev libsqlite3-dev \
		libxxhash-dev libssl-dev libcurl4-openssl-dev libcriterion-dev
}

engine() {
	packages python3-venv
	local python=build/venv/bin/python
	[ -x $python ] || /usr/bin/python3 -m venv build/venv
	if ! $python -c 'import openai, anthropic, xllamacpp, gguf, tokenizers, numpy' 2>/dev/null; then
		build/venv/bin/pip install -q --disable-pip-version-check openai==3.54.0 anthropic==2.13.0 xllamacpp==2026.10.11549 gguf==0.19.0 \
			tokenizers==0.23.3 numpy
	fi
}

tests() {
	packages g++ procps util-linux
	build/venv/bin/python -c 'import pytest' 2>/dev/null ||
		build/venv/bin/pip install -q --disable-pip-version-check pytest==8.4.2
	# Signs the tokens of the tests of auth/jwt, which are skipped and say so where it cannot be had.
	build/venv/bin/python -c 'import cryptography' 2>/dev/null ||
		build/venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2 ||
		echo "pip could not install cryptography: the tests of auth/jwt will be skipped"
	# Node's clients and aimock: where node is old or npm missing, their tests are skipped and say so.
	command -v node >/dev/null || packages nodejs
	command -v npm >/dev/null || packages npm
	local wanted=(openai@6 @anthropic-ai/sdk@1 @copilotkit/aimock@1 playwright-core@1 axe-core@4)
	if [ ! -d build/node/node_modules/@anthropic-ai/sdk ] || [ ! -d build/node/node_modules/axe-core ] && command -v npm >/dev/null; then
		mkdir -p build/node
		(cd build/node && npm install --silent --no-audit --no-fund --prefix . "${wanted[@]}") ||
			echo "npm could not install ${wanted[*]}: the tests with them will be skipped"
	fi
	# The web page is looked at with a real browser, where one is to be had.
	command -v chromium >/dev/null || packages chromium || echo "no chromium: the web page's tests in a browser will be skipped"
}

# sluiced and its engines do not run as root: what they need must be where others can read it. A checkout below /root
# is not, so build/ is then a link to a folder that is.
if [ ! -e build ]; then
	if [ "$(id -u)" = 0 ] && ! runuser -u nobody -- test -r README.md; then
		elsewhere=$(mktemp -d /var/tmp/sluice-build-XXXXXX)
		chmod 755 "$elsewhere"
		ln -s "$elsewhere" build
	else
		mkdir build
	fi
fi
case ${1:-test} in
build) build ;;
engine) engine ;;
test) build; engine; tests ;;
*) echo "usage: tests/install.sh build|engine|test" >&2; exit 2 ;;
esac
