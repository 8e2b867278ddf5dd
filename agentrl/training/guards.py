"""What ends a run before NaN or infinity is trained on or saved: samples, metrics and learner states must be finite.

Optimiser steps check themselves, see `algorithms.gradients.make_step`.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from agentrl.ops.finite import NonFinite, first_of, nonfinite_leaves
from agentrl.types import Trajectory


def require_finite_samples(trajectories: Sequence[Trajectory]) -> None:
  """Raises NonFinite where a reward, or what was recorded of a sampled token, is NaN or infinite; names the first."""
  for t in trajectories:
    rewards = {"reward": t.reward, **{f"reward part {name}": part for name, part in (t.reward_parts or {}).items()}}
    rewards |= {f"reward of turn {n}": turn.reward for n, turn in enumerate(t.turns)}
    sampled = {name: getattr(t, name)[t.action_mask] for name in ("sampler_logp", "entropy")}
    for name, values in {**rewards, **sampled}.items():
      if values is not None and not np.all(np.isfinite(values)):
        raise NonFinite(f"{name} of trajectory {t.uid} (task {t.task_id}) is not finite")


def require_finite_metrics(metrics: Mapping[str, float]) -> None:
  """Raises NonFinite where a metric of an update is NaN or infinite; names them all."""
  if bad := [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]:
    raise NonFinite(f"of the metrics {', '.join(bad)}")


def require_finite_state(state: Any) -> None:
  """Raises NonFinite where a leaf of a learner state holds NaN or infinity; names the first by path."""
  if bad := nonfinite_leaves(state):
    raise NonFinite(f"of the learner's state {first_of(bad)}")


def require_finite_record(record: Any, what: str) -> None:
  """Raises NonFinite where a number in JSON values is NaN or infinite; names the first by path, behind `what`."""
  found = jax.tree_util.tree_leaves_with_path(record)
  if bad := [path for path, leaf in found if isinstance(leaf, float) and not math.isfinite(leaf)]:
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path in bad]
    raise NonFinite(f"of {what} {first_of(paths)}")


@contextlib.contextmanager
def keeping_samples(write: Callable[[], pathlib.Path], of: type[Exception] = NonFinite) -> Iterator[None]:
  """Writes the samples of a step that an error of the kind `of` ends, and adds their path to the error."""
  try:
    yield
  except of as error:
    raise of(f"{error}\nIts samples are in {write()}") from error


@contextlib.contextmanager
def ending_the_run(step: int, saved: Callable[[], Iterable[int]]) -> Iterator[None]:
  """Adds to a `NonFinite` at which step it ended the run, and what is left.

  Args:
    step: global one that is under way; before a first one, the step before it.
    saved: gives the global steps of the checkpoints that there are.
  """
  try:
    yield
  except NonFinite as error:
    last = max(saved(), default=None)
    left = "There is no checkpoint yet" if last is None else f"The last checkpoint, of step {last}, is as it was"
    raise NonFinite(
      f"step {step}: {error}\n{left}, which may come too late: weights that grow beyond all bounds show in the metrics "
      "of the steps before. The same settings come to these numbers again, and what moves numbers cannot change in "
      "this folder: with a lower optimizer.learning_rate, or another model.dtype, start a run in a new --workdir"
    ) from error
