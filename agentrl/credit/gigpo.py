"""GiGPO: trajectories are compared with those of their prompt, and steps with those taken from the same state."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.credit.columns import Rows, rows_of, unpadded
from agentrl.credit.contract import Credit, Learner, declares
from agentrl.credit.group_baselines import groups_of
from agentrl.credit.turns import at_tokens, earned_from, turns_of
from agentrl.ops import advantages
from agentrl.types import Trajectory


@declares(compares=True)
def gigpo(
  learner: Learner,
  trajectories: Sequence[Trajectory],
  *,
  discount: float = 0.95,
  weight: float = 1.0,
  normalise: bool = False,
) -> Credit:
  """`A_episode + weight A_step` of every turn; all of its tokens get it. See `ops.advantages.gigpo`.

  Feng et al., 2025 (https://arxiv.org/abs/2505.10978), eq. 6 to 8. A step is a turn; its state is what the policy read
  last before it: the prompt, or the observation that answered the turn before. Steps are compared where they belong to
  one prompt and read the same tokens, so that an observation which counts steps has no equal.

  Args:
    learner: not asked.
    trajectories: with what their turns earned.
    discount: gamma per turn, of the returns that steps are compared by.
    weight: omega, of the step part.
    normalise: divide both parts by the spread of what is compared.
  """
  del learner
  (rows, turns), (group, count) = rows_of(trajectories), groups_of(trajectories)
  earned, taken = (np.asarray(x) for x in _earned(rows, turns=turns, discount=discount))
  rewards = np.asarray([t.reward for t in trajectories], np.float32)
  compare = advantages.grpo if normalise else advantages.dr_grpo
  whole = np.asarray(compare(rewards, group, np.ones(len(rewards), bool), num_groups=count))
  steps = np.argwhere(taken)  # [number of steps, 2]: trajectory and turn
  anchor, anchors = _anchors(trajectories, group, steps)
  of_steps = advantages.gigpo(
    jnp.asarray(whole[steps[:, 0]]), jnp.asarray(earned[tuple(steps.T)]), jnp.asarray(anchor),
    jnp.ones(len(steps), bool), num_anchors=anchors, weight=weight, normalise=normalise,
  )  # fmt: skip
  per_turn = np.zeros(earned.shape, np.float32)
  per_turn[tuple(steps.T)] = of_steps
  met = np.bincount(anchor, minlength=anchors)[anchor] > 1
  metrics = {"advantage/mean_abs": np.mean(np.abs(of_steps)), "advantage/steps_compared": np.mean(met)}
  return Credit(unpadded(trajectories, at_tokens(jnp.asarray(per_turn), rows)), metrics=metrics)


@functools.partial(jax.jit, static_argnames=("turns", "discount"))
def _earned(rows: Rows, *, turns: int, discount: float) -> tuple[jax.Array, jax.Array]:
  """The discounted return from each turn on, f32 [N, U], and which turns there are, bool [N, U]."""
  found = turns_of(rows, turns, discount=discount, per_token=False)
  return earned_from(found), found.mask


def _anchors(trajectories: Sequence[Trajectory], group: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, int]:
  """Which state each step was taken from, int32, counted from 0; and how many states there are."""
  known: dict[tuple, int] = {}
  found = [known.setdefault((group[n], _read_before(trajectories[n], u)), len(known)) for n, u in steps]
  return np.asarray(found, np.int32), len(known)


def _read_before(t: Trajectory, turn: int) -> bytes:
  """The tokens that the policy read last before a turn: the prompt, or what answered the turn before."""
  return t.tokens[(t.turn == turn - 1) & ~t.action_mask].tobytes()
