"""What an algorithm is: a few functions, and the state that they pass on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from agentrl.batching.pack import PackConfig
from agentrl.models.transformer import ModelConfig
from agentrl.named import check_name
from agentrl.ops.linear_logprob import LinearLogprob, linear_logprob
from agentrl.rollout.strategies.utterances import UtteranceSampler
from agentrl.types import Batch, Trajectory

Metrics = Mapping[str, jax.Array]


class Policy(NamedTuple):
  """What an algorithm needs to know of the policy and of the shape of its batches.

  Attributes:
    max_turns: turns of a trajectory at most, for algorithms that learn from turns; 0 where nobody said.
    sampler: for algorithms that ask the policy for more while they learn; None where there is nothing to sample with.
    place_batch: puts a packed batch that an algorithm makes during its update on the devices.
    place_hidden: says where the hidden states `[B, T, D]` of a micro-batch lie.
    reward_weights: each part of the trajectories' rewards, and its weight, for credit that compares the parts.
    linear_logprob: log-probs and entropies of the rows of a micro-batch, on the devices where they lie; called like
      `ops.linear_logprob.linear_logprob`.
  """

  model: ModelConfig
  pack: PackConfig
  max_turns: int = 0
  sampler: UtteranceSampler | None = None
  reward_weights: tuple[tuple[str, float], ...] = ()
  place_batch: Callable[[Batch], Batch] = lambda batch: batch
  place_hidden: Callable[[jax.Array], jax.Array] = lambda hidden: hidden
  linear_logprob: Callable[..., LinearLogprob] = linear_logprob


class LearnerState(NamedTuple):
  """Everything that training changes; one pytree, checkpointed as it is.

  `params` has the entry "policy", one for each head, and what an algorithm trains apart, such as "critic".
  `reference` is the frozen policy, or None.
  `memory` is what an algorithm keeps beside its weights: a replay buffer, target networks.
  """

  params: Any
  opt_state: Any
  reference: Any
  updates: jax.Array  # int32 []
  memory: Any = None


class HeadSpec(NamedTuple):
  """A head: a map from the hidden state that predicts a token to one number, trained beside the policy.

  Its params stand in `LearnerState.params` under the name that an algorithm or a term declares it by.

  Attributes:
    init: `(key, model) -> params`.
    apply: `(params, hidden [..., D]) -> f32 [...]`; stops the gradient at `hidden` where the trunk must not move.
    rate_group: key of `RATE_GROUPS`, which learning rate it has.
    acting: acting may read it, as a search reads values; a way of sampling that needs another one is refused.
  """

  init: Callable[[jax.Array, ModelConfig], Any]
  apply: Callable[[Any, jax.Array], jax.Array]
  rate_group: str = "value"
  acting: bool = False


# "policy": `optimizer.learning_rate`, and stands still during `optimizer.value_warmup`. "value": `optimizer.value_rate`
# times that, and moves from the first step on.
RATE_GROUPS = ("policy", "value")


def rate_groups(heads: Mapping[str, HeadSpec]) -> dict[str, str]:
  """The rate group of everything that an optimiser may be given, by its key in what is trained.

  Raises:
    ValueError: a head has a group that there is not.
  """
  for spec in heads.values():
    check_name(RATE_GROUPS, spec.rate_group, kind="rate group of a head")
  return {"policy": "policy", **{name: spec.rate_group for name, spec in heads.items()}}


class Algorithm(NamedTuple):
  """See contract 3 of the design.

  `prepare` assigns credit and packs; what it learns about the trajectories comes back as metrics. It raises
  `NothingToPack` where no trajectory is left to train on. Most algorithms pack a `Batch`; one that learns from
  something else, such as turns for a replay buffer, returns that, and `update` alone reads it.

  `judge(params, trajectories) -> f32 [N]` says what single utterances are worth to critics of utterances: each is the
  one turn of a trajectory whose prompt is the state. It reads the learner's params "critic" and "policy". None: the
  algorithm has no such critics.

  `heads`: what the module's `heads(cfg)` declares, by name. `compares`: it learns from how the samples of a prompt
  differ, and nothing from one alone. `chains`: its credit goes from token to token, and takes no branches. `siblings`:
  it learns from the visited siblings of a search's path, which come as branches; without it there must be none.
  `rewards`: it learns from rewards, which authored traces have none of. `imitates`: it learns to do what every
  trajectory does that it is given, whatever that was worth.
  """

  init: Callable[[jax.Array, Any], LearnerState]
  prepare: Callable[[LearnerState, Sequence[Trajectory]], tuple[Any, Metrics]]
  update: Callable[[LearnerState, jax.Array, Any], tuple[LearnerState, Metrics]]
  judge: Callable[[Any, Sequence[Trajectory]], np.ndarray] | None = None
  heads: Mapping[str, HeadSpec] = {}
  compares: bool = False
  chains: bool = False
  siblings: bool = False
  rewards: bool = False
  imitates: bool = False
