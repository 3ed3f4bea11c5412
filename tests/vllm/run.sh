#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sluice with real vLLM on the CPU: run by hand, since it installs 6 GB and takes about 10 minutes (3 when all is
# installed). Needs root, because the agent starts engines as another user.
#   tests/vllm/run.sh [PYTEST OPTIONS]
# SLUICE_VLLM_VENV: folder of the Python environment, default build/vllm-venv. It must be readable for everybody.
# SLUICE_VLLM_KEEP: when set, the folder of the site, with all logs, is left in place.
# SLUICE_ROOT: an installed tree of sluice; without it one is built and installed into build/root.
set -euo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
[ "$(id -u)" = 0 ] || { echo "tests/vllm/run.sh: needs root: the agent starts engines as another user" >&2; exit 2; }

if [ -z "${SLUICE_ROOT:-}" ]; then
	tests/install.sh build
	build=$(realpath build)
	[ -x configure ] || ./bootstrap >build/bootstrap.log 2>&1
	mkdir -p build/check
	cd build/check
	[ -f Makefile ] || "$top/configure" --prefix="$build/root" --sysconfdir="$build/root/etc" \
		--localstatedir="$build/root/var" CFLAGS="-O2 -g" >configure.log 2>&1
	make -j"$(nproc)" >make.log 2>&1 && make install >install.log 2>&1 || { tail -30 make.log; exit 1; }
	cd "$top"
	export SLUICE_ROOT=$build/root
fi
export SLUICE_VLLM_VENV=${SLUICE_VLLM_VENV:-$(realpath -m build/vllm-venv)}
tests/vllm/install.sh "$SLUICE_VLLM_VENV"
exec "$SLUICE_VLLM_VENV/bin/python" -m pytest -v -s -p no:cacheprovider "$@" tests/vllm
