#!/usr/bin/env bash
# From a bare machine to an agent that has learned to use a tool: sets up an environment and trains configs/quickstart.py.
#
#   scripts/quickstart.sh                        a few minutes on 2 cores
#   scripts/quickstart.sh --config.seed=1        arguments go to experiments/train.py
#   WORKDIR=runs/other scripts/quickstart.sh     another run folder (a run is continued, never overwritten)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. scripts/setup_env.sh
setup_env ""

workdir="${WORKDIR:-runs/quickstart}"
python experiments/train.py --config configs/quickstart.py --workdir "$workdir" "$@"
echo
echo "Open $PWD/$workdir/report.html in a browser: curves, and what the agent did before and after."
