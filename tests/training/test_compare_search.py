"""Ways of acting against each other: which sample each one picks, and what its tokens are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.algorithms import forward
from agentrl.algorithms.contract import Policy
from agentrl.models import heads
from agentrl.training import compare_search, config_values
from agentrl.training.build.experiment import build_experiment
from agentrl.training.checkpoint import Checkpointer
from agentrl.types import StopReason, Turn, TurnKind
from tests.training.test_summary import FAILED, trajectory
from tests.training.test_tree_search import settings


def answered(text, correct, *, group=0, uid=0):
  t = trajectory(group, correct)
  return dataclasses.replace(t, uid=uid, turns=[Turn(TurnKind.ANSWER, 1, 2, "", answer=text)])


def test_the_majority_is_counted_over_answers():
  samples = [answered("a", 0), answered("b", 1), answered(" b\n", 1), answered(None, 0), answered(None, 0)]
  assert compare_search.majority(samples) is samples[1]
  assert compare_search.majority(samples[:2]) is samples[0]  # a tie
  assert compare_search.majority(samples[3:]) is samples[3]


def test_the_best_by_reward_is_right_where_any_is():
  samples = [answered("a", 0), answered("b", 1)]
  assert compare_search.best_by_reward(samples) is samples[1]
  assert compare_search.best_by_reward(samples[:1]) is samples[0]


def test_rows_by_hand():
  samples = [answered("a", 0, uid=1), answered("b", 1, uid=0)]  # by uid, b comes first
  samples += [answered("c", 0, group=1, uid=2), answered("c", 0, group=1, uid=3), FAILED]
  row = compare_search._picked_row("majority vote", compare_search.majority, 2, samples)
  assert (row.success, row.tokens, row.told_reward) == (0.5, 2.0, False)
  assert row.low < 0.5 < row.high
  assert compare_search._picked_row("best", compare_search.best_by_reward, 1, samples).told_reward
  assert compare_search._samples_row(samples)[3] == 0.25  # of the means 1/2 and 0
  assert compare_search._doubling(16) == [2, 4, 8, 16] and compare_search._doubling(7) == [2, 4]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  """(config, folder) with a checkpoint whose value head is not flat."""
  config = settings(
    eval={"tasks": 2, "samples": 4, "search": 1},
    cold_start={"steps": 0},
    algo={"credit": "value_baseline"},
  )
  parts = build_experiment(config)
  params = parts.algorithm.init(jax.random.key(0), parts.params).params
  params["value"] = {"weight": jnp.linspace(-1.0, 1.0, parts.model.width), "bias": jnp.float32(0.0)}
  path = tmp_path_factory.mktemp("compared")
  Checkpointer(path / "checkpoints" / "train").save(3, {"params": params}, {})
  return config, path, params


def test_every_way_of_acting_has_its_rows(checkpoint):
  config, run, _ = checkpoint
  found = compare_search.compare(config, run=run, step=None, leaves=[2, 4])
  assert found.step == 3 and found.notes == []
  rows = {(row.method, row.count): row for row in found.rows}
  assert list(rows) == [
    ("one sample", 1), ("majority vote", 2), ("majority vote", 4),
    (compare_search.UPPER_BOUND, 2), (compare_search.UPPER_BOUND, 4),
    ("best by value head", 2), ("best by value head", 4),
    ("value-guided sparse rollouts", 2), ("value-guided sparse rollouts", 4), ("tree search", 6),
  ]  # fmt: skip
  assert all(0 <= row.low <= row.success <= row.high <= 1 for row in found.rows)
  assert {row.method for row in found.rows if row.told_reward} == {
    compare_search.UPPER_BOUND, "tree search",
  }  # fmt: skip
  one, two, four = (rows[key].tokens for key in [("one sample", 1), ("majority vote", 2), ("majority vote", 4)])
  assert four == pytest.approx(4 * one) and one < two < four
  assert rows["value-guided sparse rollouts", 2].tokens < rows["value-guided sparse rollouts", 4].tokens


def test_the_value_of_a_sample_is_read_in_front_of_its_last_token(checkpoint):
  config, _, params = checkpoint
  config, parts = compare_search._with_search(config)
  samples = compare_search.collect_held_out(config, parts, parts.collector.evaluating, params, 2, step=0)
  read = compare_search.read_values(parts, params, [*samples.trajectories, FAILED])
  batch, _ = parts.algorithm.prepare(parts.algorithm.init(jax.random.key(0), parts.params), samples.trajectories)
  values = _values_by_training(parts, params, batch)
  for n, t in enumerate(samples.trajectories):
    assert t.stop is not StopReason.ENVIRONMENT_FAILED
    assert read[t.uid] == pytest.approx(values[n], abs=1e-4)
  assert len(read) == len(samples.trajectories)


def _values_by_training(parts, params, batch):
  """What the learner's value loss sees at the last token of each trajectory."""
  last, policy = {}, Policy(parts.model, pack=None)  # nothing is packed here
  for m in range(int(batch.micro_batches)):
    micro = forward.micro_batch(batch, m)
    hidden, _, _ = forward.action_outputs(params["policy"], micro, policy)
    values = np.asarray(heads.apply_value_head(params["value"], hidden))
    for b, a in zip(*np.nonzero(np.asarray(micro.action_mask)), strict=True):
      last[int(micro.action_sequence[b, a])] = values[b, a]
  return last


def test_without_a_value_head_its_rows_are_left_out_and_a_note_says_so(tmp_path):
  config = settings(algorithm="grpo", rollout={"strategy": "independent"}, eval={"tasks": 1}, cold_start={"steps": 0})
  parts = build_experiment(config)
  Checkpointer(tmp_path / "checkpoints" / "train").save(1, {"params": {"policy": parts.params}}, {})
  found = compare_search.compare(config, run=tmp_path, step=None, leaves=[2])
  kept = ["one sample", "majority vote", compare_search.UPPER_BOUND, "tree search"]
  assert [row.method for row in found.rows] == kept
  assert "No rows by the value head" in found.notes[0]


def test_a_head_that_acting_may_not_read_is_none(monkeypatch):
  config = settings(cold_start={"steps": 0}, algo={"credit": "value_baseline"})
  parts = build_experiment(config)
  head = parts.algorithm.heads["value"]
  kept_back = parts.algorithm._replace(heads={"value": head._replace(acting=False)})
  for algorithm, evaluate in ((parts.algorithm, "value"), (kept_back, "rollout")):
    serving = parts.collector.serving(algorithm)
    built = dataclasses.replace(parts, algorithm=algorithm, collector=serving)
    monkeypatch.setattr(compare_search, "build_experiment", lambda _, built=built: built)
    assert compare_search._with_search(config)[1].surroundings.search.evaluate == evaluate


@pytest.mark.parametrize("leaves", [[1], [2, 99]])
def test_leaves_that_do_not_fit_are_refused(leaves, checkpoint):
  config, run, _ = checkpoint
  with pytest.raises(ValueError, match=rf"--leaves {leaves[-1]}: give at least 2, and at most engine.slots=6"):
    compare_search.compare(config_values.resolve(config, {}, where="test"), run=run, step=None, leaves=leaves)
