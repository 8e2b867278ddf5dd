"""Which trajectories leave the loss and stay in the baseline: credit is given to all, and these are not trained on.

What a filter drops, nobody compares with what is left; what a rule masks is compared, and its own tokens have no loss
in any term. A rule is a function `(trajectory, *, settings) -> bool`, true where the trajectory leaves the loss; one of
yours is named by its import path.

  "algo": {"masked": ("lost_turns",)}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from agentrl.batching.filters import has_turn, keep
from agentrl.named import by_name, by_path, type_told, with_settings
from agentrl.ops.reduce import Reduction, token_weights
from agentrl.types import StopReason, Trajectory, TurnKind

Rule = Callable[..., bool]  # (trajectory, *, settings)


def void_turns(trajectory: Trajectory) -> bool:
  """Some turn neither calls a tool nor answers. One that a length limit cut is read as it stands."""
  return has_turn(trajectory, TurnKind.VOID)


def malformed_turns(trajectory: Trajectory) -> bool:
  """Some turn tries to call a tool and gets the syntax wrong."""
  return has_turn(trajectory, TurnKind.MALFORMED)


def lost_turns(trajectory: Trajectory) -> bool:
  """Some turn is void or malformed: it has no complete call, and no answer.

  SimpleTIR, Xue et al., 2025 (https://arxiv.org/abs/2509.02479), whose void turn, "no complete code block and no
  answer", is both kinds. Unlike the paper, the episode goes on behind such a turn unless `rollout.end_on` says so.
  """
  return has_turn(trajectory, TurnKind.VOID, TurnKind.MALFORMED)


def overlong(trajectory: Trajectory) -> bool:
  """It ran into the length limit.

  DAPO's overlong filtering (https://arxiv.org/abs/2503.14476), which masks the loss of truncated samples.
  """
  return trajectory.stop is StopReason.LENGTH_LIMIT


RULES: Mapping[str, Rule] = {
  "void_turns": void_turns,
  "malformed_turns": malformed_turns,
  "lost_turns": lost_turns,
  "overlong": overlong,
}


# ---- what the denominator of the loss counts ------------------------------------------------------------------------


def of_the_trained(reduce: Reduction, lengths: np.ndarray, group: np.ndarray, trained: np.ndarray) -> np.ndarray:
  """Factors of 1: the reduction counts what is trained on, as if there were no others."""
  del reduce, lengths, group
  return np.ones(int(np.sum(trained)), np.float32)


def of_all(reduce: Reduction, lengths: np.ndarray, group: np.ndarray, trained: np.ndarray) -> np.ndarray:
  """Factors w_n / w'_n: a token weighs what it would among all trajectories, w_n, and not what it does alone, w'_n.

  Args:
    reduce: linear in its values. lengths: f32 [N], sampled tokens of each trajectory. group: int [N], of which prompt
      each is a sample. trained: bool [N].

  Returns:
    f32 of as many entries as are trained on; 1 where nothing was sampled.
  """
  _, left = np.unique(group[trained], return_inverse=True)
  among_all = np.asarray(token_weights(reduce, jnp.asarray(lengths), jnp.asarray(group)))[trained]
  alone = np.asarray(token_weights(reduce, jnp.asarray(lengths[trained]), jnp.asarray(left)))
  return np.divide(among_all, alone, out=np.ones_like(alone), where=alone > 0)


# (reduction, lengths f32 [N], group int [N], trained bool [N]) -> what the advantages of each trained trajectory are
# multiplied by.
DENOMINATORS: Mapping[str, Callable[[Reduction, np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
  "trained": of_the_trained,
  "all": of_all,
}


class Masking(NamedTuple):
  """The rules of a run.

  Attributes:
    rules: by name, each asked of one trajectory.
    factors: entry of `DENOMINATORS`.
  """

  rules: Mapping[str, Callable[[Trajectory], bool]]
  factors: Callable[[Reduction, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

  def trained(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Those that no rule masks, in order; a branch of a masked one takes its place, see `filters.keep`."""
    return keep(trajectories, lambda t: not any(_asked(name, rule, t) for name, rule in self.rules.items()))


def _asked(name: str, rule: Callable[[Trajectory], bool], trajectory: Trajectory) -> bool:
  """Whether a rule masks a trajectory. Raises ValueError where it says neither True nor False; names it."""
  said = rule(trajectory)
  if not isinstance(said, bool | np.bool_):
    raise ValueError(f"algo.masked: the rule {name!r} gave {type_told(said)}; True or False was due")
  return bool(said)


def make_masking(names: Sequence[str], options: Mapping[str, Mapping[str, Any]], denominator: str) -> Masking:
  """The rules that a config names; without any, all is trained on.

  Args:
    names: keys of `RULES`, or import paths of functions.
    options: settings of rules, by the same names.
    denominator: key of `DENOMINATORS`, or the import path of yours.

  Raises:
    ValueError: no such rule, no such setting, or settings for a rule that is not chosen.
  """
  given = by_path(options)
  for name in given:
    if name not in names:
      raise ValueError(f"algo.masked_options.{name}: algo.masked does not choose {name!r}; it chooses {tuple(names)}")
  functions = {name: by_name(RULES, name, kind="entry of algo.masked", takes=("trajectory",)) for name in names}
  rules = {
    name: with_settings(function, given.get(name, {}), section=f"algo.masked_options.{name}")
    for name, function in functions.items()
  }
  takes = ("reduce", "lengths", "group", "trained")
  return Masking(rules, by_name(DENOMINATORS, denominator, kind="algo.masked_denominator", takes=takes))
