#!/usr/bin/env bash
# Records a finished run under results/: config, metrics, seeds, commit, machine and duration, the curves, and the
# trajectories of the evaluations before RL and at the end. Of a run that searched also its trees and comparisons;
# `python -m agentrl.report --tree TREE.json PAGE.html` draws a tree.
#
#   scripts/record.sh runs/quickstart results/quickstart/seed0
set -euo pipefail
[ $# = 2 ] || { echo "usage: $0 RUN_FOLDER DESTINATION" >&2; exit 2; }
[ -f "$1/metrics.jsonl" ] || { echo "$1 holds no run: there is no metrics.jsonl in it" >&2; exit 1; }
mkdir -p "$2"
cp "$1/config.json" "$1/run.json" "$1/metrics.jsonl" "$2/"
cp "$1"/figures/*.png "$2/"
cold="$(python3 -c 'import json, sys; print("%06d" % json.load(open(sys.argv[1]))["cold_start"]["steps"])' "$1/config.json")"
evaluations=("$1"/trajectories/eval_*.jsonl.gz)
cp "$1/trajectories/eval_$cold.jsonl.gz" "${evaluations[-1]}" "$2/"
if compgen -G "$1/trees/*.json" > /dev/null; then mkdir -p "$2/trees" && cp "$1"/trees/*.json "$2/trees/"; fi
if compgen -G "$1/compare_search_*.json" > /dev/null; then cp "$1"/compare_search_*.json "$2/"; fi
echo "Recorded in $2"
