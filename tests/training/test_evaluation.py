"""Evaluation: the same tasks and numbers each time, of any checkpoint; failures beyond the limit end it."""

import dataclasses

import jax
import pytest

from agentrl.training import config as config_lib
from agentrl.training import evaluation
from agentrl.training.checkpoint import Checkpointer
from agentrl.types import EnvironmentFailed
from tests.training.test_summary import FAILED, trajectory


@pytest.fixture
def parts(tiny_assembly, monkeypatch):
  parts = tiny_assembly()
  monkeypatch.setattr(evaluation, "assemble", lambda _: parts)
  return parts


def without_time(metrics):
  return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def test_the_same_policy_has_the_same_numbers(parts, tiny_config):
  config = config_lib.resolve(tiny_config, {"eval": {"samples": 2}}, where="test")
  first, second = (evaluation.evaluate_policy(config, run=None, step=None) for _ in range(2))
  assert without_time(first) == without_time(second)
  assert first["eval/tasks"] == 2 and {"eval/success", "eval/pass@2", "eval/tool_calls"} <= first.keys()


def test_steps_of_a_run_count_across_its_stages(parts, tiny_config, tmp_path, monkeypatch):
  seen = []
  monkeypatch.setattr(evaluation, "evaluate", lambda c, p, params, folder, step: seen.append((step, params)) or {})
  double = jax.tree.map(lambda a: 2 * a, parts.params)
  Checkpointer(tmp_path / "checkpoints" / "cold_start").save(2, {"params": {"policy": parts.params}}, {})
  Checkpointer(tmp_path / "checkpoints" / "train").save(1, {"params": {"policy": double}}, {})
  assert evaluation.evaluate_policy(tiny_config, run=tmp_path, step=None) == {"step": 3.0}
  assert evaluation.evaluate_policy(tiny_config, run=tmp_path, step=2) == {"step": 2.0}
  (latest, trained), (early, cold) = seen
  assert (latest, early) == (3, 2)
  norms = [jax.tree.reduce(lambda total, a: total + float(abs(a).sum()), p["policy"], 0.0) for p in (trained, cold)]
  assert norms[0] == pytest.approx(2 * norms[1])


def test_a_missing_checkpoint_is_told(parts, tiny_config, tmp_path):
  with pytest.raises(FileNotFoundError, match=r"has no checkpoint; .*\[\]"):
    evaluation.evaluate_policy(tiny_config, run=tmp_path, step=None)
  Checkpointer(tmp_path / "checkpoints" / "cold_start").save(2, {"params": {"policy": parts.params}}, {})
  with pytest.raises(FileNotFoundError, match=r"has no checkpoint of step 0; .*\[2\]"):
    evaluation.evaluate_policy(tiny_config, run=tmp_path, step=0)
  with pytest.raises(ValueError, match="--step needs --run"):
    evaluation.evaluate_policy(tiny_config, run=None, step=1)


def test_failures_beyond_the_limit_name_the_first():
  causes = [EnvironmentFailed("first cause"), EnvironmentFailed("second")]
  evaluation.check_failures(0.5, [FAILED, trajectory(0, 1)], causes)  # exactly the limit passes
  with pytest.raises(RuntimeError, match=r"2 of 3 .*rollout.max_failed_share=0.5; the first said: first cause"):
    evaluation.check_failures(0.5, [FAILED, FAILED, trajectory(0, 1)], causes)


def test_an_evaluation_whose_environments_fail_is_an_error(parts, tiny_config):
  def broken():
    raise OSError("no such database")

  tasks = dataclasses.replace(parts.tasks, environment=broken)
  broken_parts = dataclasses.replace(parts, collector=dataclasses.replace(parts.collector, tasks=tasks))
  with pytest.raises(RuntimeError, match="OSError: no such database"):
    evaluation.evaluate(tiny_config, broken_parts, {"policy": parts.params}, None, step=0)
