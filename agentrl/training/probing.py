"""What a policy knows by itself: each question is asked several times, with a single turn to answer it in.

A policy that has learned to call tools may do so in that turn; such a sample says how often it calls, and nothing of
what it knows. SMART, Qian et al., 2025 (https://arxiv.org/abs/2502.11435), shows what is known without a tool and the
rest with one. Unlike the paper, which labels each step of a chain, a whole question is known or not.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from agentrl.rollout import strategies
from agentrl.settings import Range, at_least, setting
from agentrl.training.left_out import LeftOut
from agentrl.training.summary import succeeded
from agentrl.types import Trajectory, TurnKind, first_visits

if TYPE_CHECKING:
  from agentrl.training.build.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
  """How questions are sorted into known and unknown ones, and what is demonstrated of each; read by "probed"."""

  samples: int = setting(16, "of each question, one turn each", at_least(1))
  least: float = setting(
    0.5, "share of the answers among them that must be right of a known question", Range(0.0, 1.0, above_low=True)
  )
  known: str = setting("never", "habit that is shown of a known question")
  unknown: str = setting("needed", "habit that is shown of any other")


class Probe(NamedTuple):
  """What the samples of a question did.

  Attributes:
    stratum: of the question.
    called: share of them that called a tool.
    right: share of those that answered whose answer is right; NaN where none answered.
  """

  stratum: str
  called: float
  right: float

  def is_known(self, least: float) -> bool:
    """Whether at least this share of the answers is right; not where there was none."""
    return self.right >= least


def probe(
  experiment: Experiment, params: Any, key: jax.Array, indices: Iterable[int], *, samples: int, version: int
) -> tuple[dict[int, Probe], list[LeftOut]]:
  """Asks a policy questions of the train split, `samples` times each, and lets it write one turn.

  They are sampled independently of each other, at temperature 1, whatever the strategy of the run.

  Args:
    experiment: whose tasks are asked.
    params: as of `Experiment.driver_params`.
    key: with the number of the question and of the sample it determines what is sampled.
    indices: numbers of the tasks.
    samples: of each.
    version: update count of the params.

  Returns:
    What was found, by number, and the tasks of which nothing was: they could not be made, or their environment failed
    each time.
  """
  independent = strategies.load("independent")
  sampler = independent.make(experiment.surroundings, independent.default_config())
  collector = dataclasses.replace(experiment.collector.sampling(sampler), max_turns=1)
  got = collector.collect(
    params,
    key,
    first_visits(indices),
    split="train",
    samples=samples,
    temperature=1.0,
    version=version,
    memory=None,
  )
  of_task = collections.defaultdict(list)
  for trajectory in got.trajectories:
    of_task[trajectory.group_id].append(trajectory)
  probes, left_out = {}, list(got.left_out)
  for index, sampled in of_task.items():
    task, whole = got.tasks[index], [t for t in sampled if not t.failed]
    if whole:
      probes[index] = _found(task.stratum, whole)
    else:
      told = f"all {samples} probes of task {task.id} failed; the first: {sampled[0].failure.reason}"
      left_out.append(LeftOut(index, told))
  return probes, left_out


def _found(stratum: str, sampled: Sequence[Trajectory]) -> Probe:
  kinds = [t.turns[0].kind if t.turns else TurnKind.VOID for t in sampled]
  answers = [succeeded(t) for t, kind in zip(sampled, kinds, strict=True) if kind is TurnKind.ANSWER]
  return Probe(stratum, kinds.count(TurnKind.TOOL_CALL) / len(kinds), _mean(answers))


def probe_metrics(probes: Mapping[int, Probe], least: float) -> dict[str, float]:
  """`probe/known`, the share of known questions, and how often a tool was called: of them, of the others, by stratum.

  `probe/<stratum>/called` is the share of samples that called a tool, `probe/<stratum>/right` the mean over questions
  of the share of right ones among the answers: a policy that calls exactly where it must has called = 1 - right. What
  was never seen is left out.

  Args:
    probes: by number of the question.
    least: see `ProbeSettings`.
  """
  known = [p for p in probes.values() if p.is_known(least)]
  unknown = [p for p in probes.values() if not p.is_known(least)]
  metrics = {
    "known": len(known) / len(probes) if probes else math.nan,
    "called_of_known": _mean(p.called for p in known),
    "called_of_unknown": _mean(p.called for p in unknown),
  }
  for stratum in sorted({p.stratum for p in probes.values() if p.stratum}):
    own = [p for p in probes.values() if p.stratum == stratum]
    metrics[f"{stratum}/called"] = _mean(p.called for p in own)
    metrics[f"{stratum}/right"] = _mean(p.right for p in own if not math.isnan(p.right))
  return {f"probe/{name}": value for name, value in metrics.items() if not math.isnan(value)}


def _mean(values: Iterable[float]) -> float:
  """NaN of none."""
  values = list(values)
  return sum(values) / len(values) if values else math.nan
