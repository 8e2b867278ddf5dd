"""Parts of a reward, each compared by itself."""

import dataclasses

import numpy as np

from agentrl.credit.gdpo import gdpo
from agentrl.credit.group_baselines import grpo
from tests.credit.conftest import Told, dialogue, whitened

PARTS = [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0), (1.0, 0.5), (0.0, 0.25)]
WEIGHTS = {"correct": 1.0, "format": 0.5, "seen": 0.0}


def sampled():
  """Two groups of three, with three parts each."""
  of = lambda a, b: {"correct": a, "format": b, "seen": 9.0 * a}
  worth = lambda a, b: a + 0.5 * b
  return [dialogue(n, n // 3, [1 + n % 2], [worth(*parts)], reward_parts=of(*parts)) for n, parts in enumerate(PARTS)]


def test_each_part_is_compared_in_its_group_and_the_sum_is_whitened():
  total = np.zeros(6)
  for k, weight in ((0, 1.0), (1, 0.5)):
    part = np.asarray([parts[k] for parts in PARTS]).reshape(2, 3)
    total += weight * ((part - part.mean(1, keepdims=True)) / (part.std(1, ddof=1, keepdims=True) + 1e-6)).ravel()
  credit = gdpo(Told({}, WEIGHTS), sampled())
  np.testing.assert_allclose([column[0] for column in credit.advantages], whitened(total), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(credit.metrics["advantage/mean_abs"], np.mean(np.abs(whitened(total))), rtol=1e-5)


def test_parts_of_equal_sums_are_told_apart_where_a_sum_cannot():
  """1 + 0 and 0 + 1 beside 1 + 0: the sums agree, the second part is rarer."""
  learner = Told({}, {"correct": 1.0, "format": 1.0})
  pairs = [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)]
  group = [dialogue(n, 0, [1], [a + b], reward_parts={"correct": a, "format": b}) for n, (a, b) in enumerate(pairs)]
  first, second = (gdpo(learner, group).advantages[n][0] for n in (0, 1))
  assert second > first + 0.1
  first, second = (grpo(learner, group).advantages[n][0] for n in (0, 1))
  assert first == second


def test_one_part_is_grpo_whitened():
  group = [dataclasses.replace(t, reward=t.reward_parts["correct"], turns=()) for t in sampled()]
  alone = gdpo(Told({}, {"correct": 1.0}), group)
  compared = np.asarray([column[0] for column in grpo(Told({}), group).advantages], np.float64)
  np.testing.assert_allclose([column[0] for column in alone.advantages], whitened(compared), rtol=1e-5)
