"""Small trajectories written as turns, and a learner that knows what a test tells it."""

import dataclasses

import numpy as np
import pytest

from agentrl.types import StopReason, Trajectory, Turn, TurnKind


def dialogue(uid, group, lengths, earned, *, observations=(), prompt=(7,), **changes):
  """A prompt, and turns of `lengths` sampled tokens that earned so much, each but the last one answered.

  Args:
    observations: tokens that answer a turn; "1" where nothing is given.
  """
  tokens, mask, turn, turns = list(prompt), [False] * len(prompt), [-1] * len(prompt), []
  answers = [*observations, *[(1,)] * len(lengths)][: max(0, len(lengths) - 1)]
  for u, (length, reward) in enumerate(zip(lengths, earned, strict=True)):
    turns.append(Turn(TurnKind.ANSWER, len(tokens), len(tokens) + length, "", reward=reward))
    for ids, sampled in (([2] * length, True), (answers[u] if u < len(answers) else (), False)):
      tokens += ids
      mask += [sampled] * len(ids)
      turn += [u] * len(ids)
  mask, zeros = np.asarray(mask), np.zeros(len(tokens), np.float32)
  whole = Trajectory(
    np.asarray(tokens, np.int32), mask, zeros, zeros, np.asarray(turn, np.int32),
    np.where(mask, 0, -1).astype(np.int32), tuple(turns), f"t{group}", group, uid, StopReason.ANSWERED,
    {"correct": float(sum(earned))}, float(sum(earned)),
  )  # fmt: skip
  return dataclasses.replace(whole, **changes)


@dataclasses.dataclass
class Told:
  """A learner that says what it was told, and refuses what it was not."""

  told: dict
  reward_weights: dict = dataclasses.field(default_factory=dict)

  def values(self, name="value"):
    return self.told[name]

  def logp(self):
    return self.told["logp"]

  def ref_logp(self):
    return self.told["ref_logp"]


@pytest.fixture
def nobody():
  """A learner whom nothing may be asked."""
  return Told({})


@pytest.fixture
def dialogues():
  """Five of two prompts, whose group ids are far apart, with one to three turns."""
  return [
    dialogue(0, 1007, [2, 1], [0.5, 1.0]),
    dialogue(1, 7, [3], [-1.0]),
    dialogue(2, 1007, [1, 2, 1], [0.0, -0.25, 0.25]),
    dialogue(3, 7, [1, 1], [2.0, 0.5]),
    dialogue(4, 1007, [4], [1.0]),
  ]


@pytest.fixture
def critic(dialogues):
  """A learner that has values and log-probs of the dialogues, random at their sampled tokens."""
  rng = np.random.default_rng(0)
  draw = lambda: [(rng.normal(size=len(t.tokens)) * t.action_mask).astype(np.float32) for t in dialogues]
  return Told({"value": draw(), "logp": draw(), "ref_logp": draw()}, {"correct": 1.0})


@pytest.fixture(scope="session")
def taken():
  """`taken(trajectories, columns) -> f64 [total]`: the columns at the sampled tokens, one after another."""
  return lambda trajectories, columns: np.concatenate(
    [np.asarray(c, np.float64)[t.action_mask] for t, c in zip(trajectories, columns, strict=True)]
  )


def whitened(numbers):
  """To mean 0 and variance 1."""
  return (numbers - numbers.mean()) / (numbers.std(ddof=1) + 1e-6)
