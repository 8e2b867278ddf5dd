"""Evaluation: the same tasks and numbers each time, of any checkpoint; failures beyond the limit end it."""

import dataclasses
import gzip
import json

import jax
import pytest

from agentrl.training import config_values, evaluation
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.left_out import TasksLeftOut
from agentrl.training.run_folder import RunFolder
from agentrl.types import Failure, FailureKind
from tests.training.test_summary import FAILED, trajectory


@pytest.fixture
def parts(tiny_experiment, monkeypatch):
  parts = tiny_experiment()
  monkeypatch.setattr(evaluation, "build_experiment", lambda _: parts)
  return parts


def without_time(metrics):
  return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def test_the_same_policy_has_the_same_numbers(parts, tiny_config):
  config = config_values.resolve(tiny_config, {"eval": {"samples": 2}}, where="test")
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
  second = dataclasses.replace(FAILED, failure=Failure(FailureKind.RAISED, "second"))
  evaluation.check_failures(0.5, [FAILED, trajectory(0, 1)])  # exactly the limit passes
  told = r"max_failed_share=0.5 have no reward: of 3 trajectories 2 of the .* failed \(the first said: the worker died"
  with pytest.raises(RuntimeError, match=told):
    evaluation.check_failures(0.5, [trajectory(0, 1), FAILED, second])


def test_a_reward_that_failed_is_told_as_the_rewards_failure():
  unpaid = dataclasses.replace(FAILED, failure=Failure(FailureKind.REWARD, "the reward part 'own' failed"))
  told = "of 3 trajectories {} failed (the first said: the reward part 'own' failed)"
  assert evaluation.failures_told([unpaid, unpaid, trajectory(0, 1)]) == told.format("2 of the rewards")
  both = "1 of the environments and 1 of the rewards"
  assert evaluation.failures_told([unpaid, FAILED, trajectory(0, 1)]) == told.format(both)
  assert evaluation.failures_told([trajectory(0, 1)]) == "of 1 trajectories none failed"


def test_an_evaluation_whose_environments_fail_is_an_error(parts, tiny_config):
  def broken():
    raise OSError("no such database")

  tasks = dataclasses.replace(parts.tasks, environment=broken)
  broken_parts = dataclasses.replace(parts, collector=dataclasses.replace(parts.collector, tasks=tasks))
  with pytest.raises(evaluation.EnvironmentsFailed, match="OSError: no such database"):
    evaluation.evaluate(tiny_config, broken_parts, {"policy": parts.params}, None, step=0)
  lenient = config_values.resolve(tiny_config, {"rollout": {"max_failed_share": 1.0}}, where="test")
  told = r"evaluation: of 2 trajectories 2 of the environments failed .* no such database.*nothing to measure"
  with pytest.raises(evaluation.EnvironmentsFailed, match=told):
    evaluation.evaluate(lenient, broken_parts, {"policy": parts.params}, None, step=0)


def test_the_trajectories_of_an_evaluation_that_failed_are_kept(parts, tiny_config, tmp_path):
  def broken():
    raise OSError("no such database")

  tasks = dataclasses.replace(parts.tasks, environment=broken)
  broken_parts = dataclasses.replace(parts, collector=dataclasses.replace(parts.collector, tasks=tasks))
  with RunFolder.open(tmp_path / "run", tiny_config) as folder:
    with pytest.raises(evaluation.EnvironmentsFailed):
      evaluation.evaluate(tiny_config, broken_parts, {"policy": parts.params}, folder, step=0)
  rows = gzip.decompress((tmp_path / "run" / "trajectories" / "eval_000000.jsonl.gz").read_bytes()).splitlines()
  assert len(rows) == 2 and all("no such database" in json.loads(row)["failure"]["reason"] for row in rows)


def with_long_questions(parts, long):
  """The parts, where the tasks of these numbers have a question that does not fit."""
  make = parts.tasks.task

  def task(index, split):
    made = make(index, split)
    return dataclasses.replace(made, question="What is it? " * 100) if index in long else made

  tasks = dataclasses.replace(parts.tasks, task=task)
  return dataclasses.replace(parts, tasks=tasks, collector=dataclasses.replace(parts.collector, tasks=tasks))


def test_an_evaluation_leaves_out_what_does_not_fit_and_says_so(parts, tiny_config):
  policy = {"policy": parts.params}
  metrics = evaluation.evaluate(tiny_config, with_long_questions(parts, {1}), policy, None, step=0)
  assert (metrics["eval/left_out"], metrics["eval/tasks"]) == (1, 1)
  with pytest.raises(TasksLeftOut, match=r"2 of 2 tasks .* has 1\d+ .*: raise rollout.max_tokens and pack.row_tokens"):
    evaluation.evaluate(tiny_config, with_long_questions(parts, {0, 1}), policy, None, step=0)
