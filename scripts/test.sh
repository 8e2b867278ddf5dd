#!/usr/bin/env bash
# Sets up what the tests need on a bare machine, then checks style, imports and behaviour.
#
#   scripts/test.sh                          the default tests
#   scripts/test.sh tests/ops -x -k gae      arguments go to pytest
#   scripts/test.sh -m slow                  the slow ones
#   scripts/test.sh --devices 8              on 8 virtual CPU devices
#   PYTHON=python3.12 scripts/test.sh        on another Python, in an environment of its own
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

arguments=()
selected=(-m "not slow")
while [ $# -gt 0 ]; do
  case "$1" in
    --devices)
      [ $# -ge 2 ] || { echo "--devices needs a number" >&2; exit 2; }
      export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$2"
      shift
      ;;
    -m | -m=* | --markers) selected=(); arguments+=("$1") ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

. scripts/setup_env.sh
install_sandbox
setup_env dev,smollm2

ruff check .
ruff format --check .
lint-imports --no-logo

# One process per core, each with one thread of its own: small shapes gain nothing from more.
export XLA_FLAGS="${XLA_FLAGS:-} --xla_cpu_multi_thread_eigen=false"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
python -m pytest -n "${TEST_WORKERS:-2}" --dist worksteal --durations=15 ${selected[@]+"${selected[@]}"} ${arguments[@]+"${arguments[@]}"}
