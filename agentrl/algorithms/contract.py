"""What an algorithm is: three functions, and the state that they pass on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from agentrl.models.transformer import ModelConfig
from agentrl.rollout.pack import PackConfig
from agentrl.types import Batch, Trajectory

Metrics = Mapping[str, jax.Array]


class Policy(NamedTuple):
  """What an algorithm needs to know of the policy and of the shape of its batches."""

  model: ModelConfig
  pack: PackConfig


class LearnerState(NamedTuple):
  """Everything that training changes; one pytree, checkpointed as it is.

  `params` has the entries "policy" and, with a critic, "value". `reference` is the frozen policy, or None.
  """

  params: Any
  opt_state: Any
  reference: Any
  updates: jax.Array  # int32 []


class Algorithm(NamedTuple):
  """See contract 3 of the design.

  `prepare` assigns credit and packs; what it learns about the trajectories comes back as metrics. It raises ValueError
  where no trajectory is left to train on.
  """

  init: Callable[[jax.Array, Any], LearnerState]
  prepare: Callable[[LearnerState, Sequence[Trajectory]], tuple[Batch, Metrics]]
  update: Callable[[LearnerState, jax.Array, Batch], tuple[LearnerState, Metrics]]
