"""Faults over a training run: no trajectory is lost or blamed for its environment, and the policy still learns."""

import gzip
import json
import pathlib

import pytest

from agentrl.envs.tasks.numbers import is_number
from agentrl.training import config as config_lib
from agentrl.training import loop, metrics
from agentrl.training.run_folder import RunFolder

ROOT = pathlib.Path(__file__).parents[2]
SITE = ROOT / "tests" / "envs" / "hosting" / "site"
HOSTING = {"processes": 12, "episodes": 8, "retries": 4}


@pytest.fixture
def train(monkeypatch, tmp_path):
  """`train(every, **changes)` runs the quickstart, every so many calls a fault; returns its folder and their number."""
  monkeypatch.syspath_prepend(SITE)
  monkeypatch.setenv("PYTHONPATH", str(SITE))
  calls = tmp_path / "calls"

  def start(every, smoke, **changes):
    base = config_lib.load(ROOT / "configs" / "quickstart.py", smoke=smoke)
    first = base.cold_start.steps * base.cold_start.batch
    options = {"every": every, "first": first, "calls": str(calls)}
    changes |= {"task": {"family": "testworlds.chaos", "tool": "", "options": options}, "hosting": HOSTING}
    changes["rollout"] = changes.get("rollout", {}) | {"environment_seconds": 2.0}
    config = config_lib.resolve(base, changes, where="test")
    with RunFolder.open(tmp_path / "run", config) as folder:
      loop.run(config, folder)
    return tmp_path / "run", calls.stat().st_size // every, config

  return start


def check_nothing_is_lost_or_blamed(folder, config):
  wanted = config.rollout.groups * config.rollout.group_size
  lines = [line for line in metrics.read(folder / "metrics.jsonl") if "rollout/trajectories" in line]
  assert [line["rollout/trajectories"] for line in lines] == [wanted] * config.train.steps
  failed = 0
  for file in [folder / "trajectories" / f"train_{line['step'] - 1:06d}.jsonl.gz" for line in lines]:
    with gzip.open(file, "rt") as rows:
      for row in map(json.loads, rows):
        answer = row["turns"][-1]["answer"] if row["turns"] else None
        if row["stop"] == "environment_failed":
          failed += 1
          assert row["reward"] is None
        else:
          right = row["stop"] == "answered" and is_number(answer, row["reference"])
          assert row["reward"] == float(right)
  assert 0 < failed <= sum(line["rollout/environment_failures"] for line in lines)  # a file holds 64 trajectories
  return lines


def test_a_short_run_under_many_faults(train):
  changes = {"train": {"steps": 4, "trajectories_every": 1}, "rollout": {"groups": 8, "group_size": 4}}
  folder, faults, config = train(12, smoke=True, **changes)
  lines = check_nothing_is_lost_or_blamed(folder, config)
  assert faults >= 10
  assert sum(line.get("hosting/lost", 0) for line in lines) > 0


@pytest.mark.slow
def test_the_quickstart_learns_under_a_thousand_faults(train):
  settings = {"steps": 100, "trajectories_every": 1, "eval_every": 50}
  folder, faults, config = train(25, smoke=False, train=settings)
  lines = check_nothing_is_lost_or_blamed(folder, config)
  lost, retries = (sum(line.get(name, 0) for line in lines) for name in ("hosting/lost", "hosting/retries"))
  print(f"{faults} faults, {lost:.0f} workers lost, {retries:.0f} retries")
  evaluations = [line["eval/success"] for line in metrics.read(folder / "metrics.jsonl") if "eval/success" in line]
  print(f"held-out success {evaluations[-3]:.3f} -> {evaluations[-1]:.3f}")
  assert faults >= 1000
  assert evaluations[-3] < 0.4  # behind the cold start
  assert evaluations[-1] > 0.7
