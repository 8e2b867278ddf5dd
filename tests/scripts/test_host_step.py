"""The benchmark of the host's side runs: what stands in for a chat format in it is what episodes ask of one."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_it_measures_both_strategies():
  command = [sys.executable, str(ROOT / "scripts/bench/host_step.py"), "--slots", "8", "--repeat", "1"]
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
  assert ran.returncode == 0, ran.stderr[-500:]
  assert "independent" in ran.stdout and "tree_search" in ran.stdout
