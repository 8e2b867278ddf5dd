#!/usr/bin/env bash
# Checks every kernel on this machine's NVIDIA GPU against its reference, and prints the tables of all of them.
#
#   scripts/bench/gpu.sh [FOLDER]      meant to take under 8 minutes on an H200 (not run on one yet); tables are also
#                                      written to FOLDER, by default results/gpu
#
# Installs nothing where the active Python has JAX with CUDA, jax-triton and rich: jax-triton 0.3.1, which is one small
# wheel, lowers kernels with JAX 0.10 to 0.12 and Triton from 3.6 on; 0.4 asks for Triton 3.7.
#
# What is at fault in one kernel does not hide the others: all parts run, and the exit status says whether one failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
nvidia-smi -L >/dev/null 2>&1 || { echo "There is no NVIDIA GPU here: nvidia-smi -L fails" >&2; exit 1; }
# What the active Python already has serves as it is: machines with GPUs often reach no package index.
if ! python3 -c 'import jax, jax_triton, rich; assert jax.default_backend() == "gpu"' 2>/dev/null; then
  echo "This Python lacks JAX on a GPU, jax-triton or rich; taking an environment of its own"
  . scripts/setup_env.sh
  setup_env cuda,triton
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

folder="${1:-results/gpu}"
mkdir -p "$folder"
{
  date -u +%FT%TZ
  git rev-parse HEAD
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  python3 -c 'import jax, jax_triton, triton; print("JAX", jax.__version__, "Triton", triton.__version__, jax.devices())'
} | tee "$folder/machine.txt"

status=0
for part in gpu_linear_logprob gpu_forest_attention gpu_decode_attention returns; do
  echo "== $part"
  python3 "scripts/bench/$part.py" 2>&1 | tee "$folder/$part.txt" || status=1
done
exit "$status"
