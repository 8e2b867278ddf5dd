"""Faults over a training run: no trajectory is lost or blamed for its environment, and the policy still learns."""

import dataclasses
import gzip
import json
import pathlib
import sys

import jax
import numpy as np
import pytest

from agentrl.envs.numbers import is_number
from agentrl.training import config as config_lib
from agentrl.training import config_values, loop, metrics
from agentrl.training.build.experiment import build_experiment
from agentrl.training.build.tasks import open_tasks
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.run_folder import RunFolder
from agentrl.types import FailureKind, first_visits

ROOT = pathlib.Path(__file__).parents[2]
SITE = ROOT / "tests" / "envs" / "hosting" / "site"
sys.path.append(str(SITE))
from testworlds import junk  # noqa: E402

HOSTING = {"episodes": 8, "retries": 4}


@pytest.fixture
def train(monkeypatch, tmp_path):
  """`train(every, ...)` runs the quickstart, every so many calls a fault; returns its folder and their number."""
  monkeypatch.syspath_prepend(SITE)
  monkeypatch.setenv("PYTHONPATH", str(SITE))
  calls = tmp_path / "calls"

  def start(every, smoke, processes, **changes):
    base = config_lib.load(ROOT / "configs" / "quickstart.py", smoke=smoke)
    first = base.cold_start.steps * base.cold_start.batch
    options = {"every": every, "first": first, "calls": str(calls)}
    changes |= {"task": {"family": "testworlds.chaos", "tool": "", "options": options}}
    changes |= {"hosting": HOSTING | {"processes": processes}}
    changes["rollout"] = changes.get("rollout", {}) | {"environment_seconds": 2.0}
    config = config_values.resolve(base, changes, where="test")
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
          assert row["reward"] is None and row["failure"]["reason"]
        else:
          right = row["stop"] == "answered" and is_number(answer, row["reference"])
          assert row["reward"] == float(right)
  assert 0 < failed <= sum(line["rollout/environment_failures"] for line in lines)  # a file holds 64 trajectories
  return lines


def test_a_short_run_under_many_faults(train):
  changes = {"train": {"steps": 4, "trajectories_every": 1}, "rollout": {"groups": 8, "group_size": 4}}
  folder, faults, config = train(12, smoke=True, processes=4, **changes)
  lines = check_nothing_is_lost_or_blamed(folder, config)
  assert faults >= 10
  assert sum(line.get("hosting/lost", 0) for line in lines) > 0


@pytest.mark.slow
def test_the_quickstart_learns_under_a_thousand_faults(train):
  settings = {"steps": 100, "trajectories_every": 1, "eval_every": 50}
  folder, faults, config = train(25, smoke=False, processes=12, train=settings)
  lines = check_nothing_is_lost_or_blamed(folder, config)
  lost, retries = (sum(line.get(name, 0) for line in lines) for name in ("hosting/lost", "hosting/retries"))
  print(f"{faults} faults, {lost:.0f} workers lost, {retries:.0f} retries")
  evaluations = [line["eval/success"] for line in metrics.read(folder / "metrics.jsonl") if "eval/success" in line]
  print(f"held-out success {evaluations[-3]:.3f} -> {evaluations[-1]:.3f}")
  assert faults >= 1000
  assert evaluations[-3] < 0.4  # behind the cold start
  assert evaluations[-1] > 0.7


# ---- junk of the environment's own code, in the process of the run ---------------------------------------------------


JUNK = {"family": "testworlds.junk", "tool": ""}
EVERY = 3  # of so many calls one is answered with junk


def sampled(parts, config, every, groups):
  """Trajectories of the untrained policy, by uid, where one call in `every` is answered with junk; 0: none is."""
  config = config_values.resolve(config, {"task": JUNK | {"options": {"every": every}}}, where="test")
  collector = dataclasses.replace(
    parts.collector, tasks=open_tasks(config.task, config.hosting, environment_seconds=60.0), turn_tokens=3
  )
  junk.STRUCK.clear()
  got = collector.collect(
    parts.driver_params({"policy": parts.params}), parts.keys["rollout"], first_visits(range(groups)), split="train",
    samples=4, temperature=1.0, version=0, memory={},
  )  # fmt: skip
  assert not got.left_out
  return {t.uid: t for t in got.trajectories}


def check_that_junk_costs_its_own_trajectory_alone(parts, config, groups):
  whole, struck = sampled(parts, config, 0, groups), sampled(parts, config, EVERY, groups)
  failed = [t for t in struck.values() if t.failed]
  assert struck.keys() == whole.keys() and len(failed) == junk.STRUCK.total()
  assert all(t.reward is None and t.reward_parts is None and 0 < len(t.failure.reason) < 1100 for t in failed)
  assert {t.failure.kind for t in failed} == {FailureKind.RAISED, FailureKind.ANSWER, FailureKind.REWARD}
  for uid, t in struck.items():
    if not t.failed:
      assert t.tokens.tolist() == whole[uid].tokens.tolist() and t.reward == whole[uid].reward is not None
      np.testing.assert_array_equal(t.sampler_logp, whole[uid].sampler_logp)
  return len(failed)


@pytest.fixture
def train_on_junk(monkeypatch, tmp_path):
  """`train_on_junk(config, make_parts)` runs under junk, however much of a step it takes; gives what was counted."""

  def start(config, make_parts):
    first = config.cold_start.steps * config.cold_start.batch
    task = JUNK | {"options": {"every": EVERY, "first": first}}
    config = config_values.resolve(config, {"task": task, "rollout": {"max_failed_share": 1.0}}, where="test")
    parts = make_parts(config)
    tasks = open_tasks(config.task, config.hosting, environment_seconds=60.0)
    collector = dataclasses.replace(parts.collector, tasks=tasks, turn_tokens=3)
    parts = dataclasses.replace(parts, tasks=tasks, collector=collector)
    monkeypatch.setattr(loop, "build_experiment", lambda _: parts)
    like = jax.eval_shape(lambda: parts.algorithm.init(jax.random.key(0), parts.params))
    junk.STRUCK.clear()
    with RunFolder.open(tmp_path / "run", config) as folder:
      loop.run(config, folder)
    saved = Checkpointer(tmp_path / "run" / "checkpoints" / "train")
    zeros = parts.place(jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), like))
    check_that_the_weights_are_finite(saved.restore_latest(zeros).state)
    return check_that_failures_are_on_file(tmp_path / "run", config)

  return start


def check_that_the_weights_are_finite(state):
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
  assert any(np.any(leaf) for leaf in jax.tree.leaves(state.params))


def check_that_failures_are_on_file(folder, config):
  """Nothing is lost or blamed, and why it failed is counted; gives the counts by kind."""
  lines = check_nothing_is_lost_or_blamed(folder, config)
  counted = {kind: sum(line[f"rollout/failed_{kind}"] for line in lines) for kind in ("raised", "answer", "reward")}
  assert sum(counted.values()) == sum(line["rollout/environment_failures"] for line in lines) == junk.STRUCK.total()
  trained = sum(line["update/trajectories"] for line in lines)
  assert trained == sum(line["rollout/trajectories"] for line in lines) - junk.STRUCK.total()
  assert not any("nonfinite" in line for line in metrics.read(folder / "metrics.jsonl"))
  return counted


def test_a_hundred_pieces_of_junk_cost_their_own_trajectories_alone(tiny_experiment, tiny_config):
  assert check_that_junk_costs_its_own_trajectory_alone(tiny_experiment(), tiny_config, 50) >= 100


def test_a_short_run_under_junk(train_on_junk, tiny_experiment, tiny_config):
  assert sum(train_on_junk(tiny_config, lambda config: tiny_experiment()).values()) > 2


@pytest.mark.slow
def test_a_thousand_pieces_of_junk_cost_their_own_trajectories_alone(tiny_experiment, tiny_config):
  failed = check_that_junk_costs_its_own_trajectory_alone(tiny_experiment(), tiny_config, 500)
  print(f"{failed} failed of {4 * 500}: {dict(junk.STRUCK)}")
  assert failed >= 1000 and len(junk.STRUCK) == len(junk.OPENINGS) + len(junk.ANSWERS)


@pytest.mark.slow
def test_a_run_under_a_thousand_pieces_of_junk(train_on_junk, tiny_config):
  sizes = {"rollout": {"groups": 8, "group_size": 8, "workers": 8}, "engine": {"slots": 32}, "pack": {"rows": 8}}
  changes = {"train": {"steps": 40, "checkpoint_every": 40}, **sizes}
  counted = train_on_junk(config_values.resolve(tiny_config, changes, where="test"), build_experiment)
  print(f"{junk.STRUCK.total()} pieces of junk: {counted}")
  assert junk.STRUCK.total() >= 1000
