#!/usr/bin/env bash
# The decoder against transformers, both ways:
#   1. writes tiny models and what transformers computes for them into tests/models/goldens/ (only with --write);
#   2. lets agentrl load and save them, and opens the result in transformers again.
# torch and transformers get an environment of their own, .venv-goldens (or $GOLDENS_VENV); agentrl runs in $PYTHON.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
VENV=${GOLDENS_VENV:-.venv-goldens}

if [[ ! -x $VENV/bin/python ]]; then
  "$PYTHON" -m venv "$VENV"
  # torch first: it decides which of its builds the rest is resolved against. Goldens need no GPU.
  "$VENV/bin/pip" install --quiet torch==2.13.0
  "$VENV/bin/pip" install --quiet transformers==5.23.0 safetensors numpy
fi

if [[ ${1:-} == --write ]]; then
  "$VENV/bin/python" scripts/goldens/make_goldens.py --out tests/models/goldens
fi

saved=$(mktemp -d)
trap 'rm -rf "$saved"' EXIT
PYTHONPATH=. "$PYTHON" scripts/goldens/resave.py tests/models/goldens "$saved"
"$VENV/bin/python" scripts/goldens/make_goldens.py --check "$saved" --against tests/models/goldens
