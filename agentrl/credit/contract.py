"""What a credit function is: it says how much each sampled token is to be pushed up or down.

  function(learner, trajectories, *, settings) -> Credit

It sees whole trajectories: their lengths, turns, groups, branches and rewards. What else it needs to know it asks the
learner, and pays for what it asks alone. What others must know of it, it declares: see `declares`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from agentrl.named import check_name, naming, type_told
from agentrl.types import Trajectory


class Credit(NamedTuple):
  """What a credit function gives; all lists have one entry per trajectory, read where the policy sampled a token.

  Attributes:
    advantages: f32 [T_n] each.
    returns: f32 [T_n] each, what a value head should say in front of the token; None where nobody is to learn values.
    metrics: numbers that are reported, by "group/name"; in no group that the run or its objective reports, see
      `metrics_file.RUN_GROUPS`.
  """

  advantages: list[np.ndarray]
  returns: list[np.ndarray] | None = None
  metrics: Mapping[str, Any] = MappingProxyType({})


class Learner(Protocol):
  """Whom a credit function may ask; every list has one f32 [T_n] per trajectory, 0 where nothing was sampled.

  What is asked for is computed then, under the params at the start of the update, and once.

  Attributes:
    reward_weights: weight of each part of `Trajectory.reward_parts` in the reward.
  """

  reward_weights: Mapping[str, float]

  def values(self, name: str = "value") -> list[np.ndarray]:
    """What the head `name` says in front of each token."""

  def logp(self) -> list[np.ndarray]:
    """Log-probs of the tokens under the policy."""

  def ref_logp(self) -> list[np.ndarray]:
    """Log-probs of the tokens under the frozen reference."""


class Declared(NamedTuple):
  """What others must know of a credit function.

  Attributes:
    heads: heads that it asks for values, which the algorithm must train.
    reference: it asks for `ref_logp`, so that the learner keeps a reference.
    compares: it compares the samples of a prompt, and learns nothing from one alone.
    siblings: it is of the visited siblings of a search's path, which come as branches, beside the path; and of sums of
      log-probs, which no reduction may divide by lengths.
    chains: it goes from token to token, and takes no branches.
  """

  heads: tuple[str, ...] = ()
  reference: bool = False
  compares: bool = False
  siblings: bool = False
  chains: bool = False


CreditFunction = Callable[..., Credit]  # (learner, trajectories, *, settings)
Assign = Callable[[Learner, Sequence[Trajectory]], Credit]


def declares(**what: Any) -> Callable[[CreditFunction], CreditFunction]:
  """Decorates a credit function with what it declares.

  Args:
    **what: attributes of `Declared`; one that depends on the settings is a function of them.

  Raises:
    ValueError: `Declared` has no such attribute; names the function and the attributes.
  """

  def mark(function: CreditFunction) -> CreditFunction:
    with naming(f"@declares of the credit function {function.__name__}"):
      for name in what:
        check_name(Declared._fields, name, kind="attribute of `Declared`")
    function.declared = what
    return function

  return mark


def declared_by(function: CreditFunction, settings: Mapping[str, Any]) -> Declared:
  """What a credit function declares under settings, the defaults among them; nothing where it declares nothing."""
  what = vars(function).get("declared", {})
  declared = Declared(**{name: value(settings) if callable(value) else value for name, value in what.items()})
  if not isinstance(declared.heads, tuple | list):
    raise ValueError(f"it declares heads={declared.heads!r}; names of heads in a tuple were due, such as ('value',)")
  return declared


def check_credit(given: Any, trajectories: Sequence[Trajectory]) -> None:
  """Raises ValueError where a credit function gave no `Credit` of these trajectories; says what was due and what came.

  Args:
    given: what it gave.
    trajectories: that it was asked about.
  """
  if not isinstance(given, Credit):
    raise ValueError(f"it gave {type_told(given)} where a `Credit` was due, such as Credit(advantages)")
  for name, arrays in (("advantages", given.advantages), ("returns", given.returns)):
    if arrays is None and name == "returns":
      continue
    due = f"an array of one number for each token of each of {len(trajectories)} trajectories"
    if not isinstance(arrays, list | tuple):
      raise ValueError(f"its `{name}` are {type_told(arrays)}; a list was due: {due}")
    if len(arrays) != len(trajectories):
      raise ValueError(f"its `{name}` are {len(arrays)}; {due} was due")
    for t, array in zip(trajectories, arrays, strict=True):
      if np.shape(array) != np.shape(t.tokens):
        raise ValueError(
          f"its `{name}` of trajectory {t.uid} (task {t.task_id}) have the shape {np.shape(array)}; one number for "
          f"each of its tokens was due: {np.shape(t.tokens)}"
        )
  if not isinstance(given.metrics, Mapping):
    raise ValueError(f"its `metrics` are {type_told(given.metrics)}; numbers by name were due")
