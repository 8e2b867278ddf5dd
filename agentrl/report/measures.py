"""What a claim compares of two runs: a metric at the end, at equal cost, or what it cost to get to a value.

A measure gives one reading of each of two runs; `AtEqual` reads both where both have got to. Readings of `RATIO`
measures are costs, and are compared by their ratio.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from agentrl.report import arms, source


class Reading(NamedTuple):
  """A number of a run; `at_least`: it is only known to be this large, as of a value that was never reached."""

  value: float
  at_least: bool = False


class Measure(Protocol):
  """What a claim may name.

  Attributes:
    ratio: readings are costs, and are compared by their ratio.
    metric: of the evaluations or steps; empty where only a cost is read.
    cost: metric that is summed over the steps; empty where nothing is summed.
  """

  ratio: ClassVar[bool]
  metric: str
  cost: str

  def read(self, run: pathlib.Path, other: pathlib.Path) -> tuple[Reading, Reading]:
    """The readings of two runs; a ValueError names the metric that one of them lacks."""
    ...

  def __str__(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class Last:
  """A metric where it was last measured."""

  metric: str
  cost: str = ""
  ratio: ClassVar[bool] = False

  def read(self, run: pathlib.Path, other: pathlib.Path) -> tuple[Reading, Reading]:
    return Reading(values_after_cold_start(run, self.metric)[-1]), Reading(
      values_after_cold_start(other, self.metric)[-1]
    )

  def __str__(self) -> str:
    return f"`{self.metric}` at the end"


@dataclasses.dataclass(frozen=True)
class _OfLast:
  """One number of the last few values of a metric at evaluations.

  Attributes:
    number: `(values) -> number`.
    word: what it is called.
  """

  metric: str
  evaluations: int
  cost: str = ""
  ratio: ClassVar[bool] = False
  number: ClassVar[Callable[[Sequence[float]], float]]
  word: ClassVar[str]

  def read(self, run: pathlib.Path, other: pathlib.Path) -> tuple[Reading, Reading]:
    return self._of(run), self._of(other)

  def _of(self, run: pathlib.Path) -> Reading:
    return Reading(float(self.number(_last(run, self.metric, self.evaluations))))

  def __str__(self) -> str:
    return f"`{self.metric}`, {self.word} of the last {self.evaluations} evaluations"


class MeanOfLast(_OfLast):
  """Mean of a metric over the last few evaluations."""

  number, word = staticmethod(np.mean), "mean"


class BestOfLast(_OfLast):
  """The largest value of a metric in the last few evaluations."""

  number, word = staticmethod(max), "best"


@dataclasses.dataclass(frozen=True)
class AtEqual:
  """A metric of the evaluations where both runs have spent what the cheaper of them has spent at its end.

  Between evaluations a straight line is drawn.
  """

  metric: str
  cost: str
  ratio: ClassVar[bool] = False

  def read(self, run: pathlib.Path, other: pathlib.Path) -> tuple[Reading, Reading]:
    curves = [arms.curve(path, cost=self.cost, value=self.metric) for path in (run, other)]
    common = min(curve.cost[-1] for curve in curves)
    one, two = (Reading(float(np.interp(common, curve.cost, curve.value))) for curve in curves)
    return one, two

  def __str__(self) -> str:
    return f"`{self.metric}` at equal `{self.cost}`"


@dataclasses.dataclass(frozen=True)
class CostToReach:
  """What had been spent at the first evaluation at which a metric was at least a threshold.

  Attributes:
    held: count from where on it stayed there. A run that never gets there has spent at least all that it spent.
  """

  cost: str
  metric: str
  threshold: float
  held: bool = False
  ratio: ClassVar[bool] = True

  def read(self, run: pathlib.Path, other: pathlib.Path) -> tuple[Reading, Reading]:
    return self._of(run), self._of(other)

  def _of(self, run: pathlib.Path) -> Reading:
    curve = arms.curve(run, cost=self.cost, value=self.metric)
    spent = arms.cost_to_reach(curve, self.threshold, held=self.held)
    return Reading(float(curve.cost[-1]), at_least=True) if math.isinf(spent) else Reading(spent)

  def __str__(self) -> str:
    when = " for good" if self.held else ""
    return f"`{self.cost}` until `{self.metric}` is at least {self.threshold:g}{when}"


@dataclasses.dataclass(frozen=True)
class Spent:
  """All that a run has spent after its cold start."""

  cost: str
  metric: str = ""
  ratio: ClassVar[bool] = True

  def read(self, run: pathlib.Path, other: pathlib.Path) -> tuple[Reading, Reading]:
    return self._of(run), self._of(other)

  def _of(self, run: pathlib.Path) -> Reading:
    first = source.cold_start_steps(source.read_config(run))
    lines = [line for line in source.read_metrics(run / "metrics.jsonl") if line["step"] >= first]
    source.check_summed(run, lines, self.cost)
    return Reading(float(sum(values_after_cold_start(run, self.cost))))

  def __str__(self) -> str:
    return f"`{self.cost}` in all"


def values_after_cold_start(run: pathlib.Path, metric: str) -> list[float]:
  """Values of a metric since the cold start, its last evaluation among them.

  Raises:
    ValueError: there are none; names those of the last line.
  """
  return _values(run, metric, lambda line: True)


def _values(run: pathlib.Path, metric: str, of: Callable[[source.Line], bool]) -> list[float]:
  """Values of a metric since the cold start, in some of the lines."""
  lines = source.read_metrics(run / "metrics.jsonl")
  first = source.cold_start_steps(source.read_config(run))
  _, values = source.series([line for line in lines if line["step"] >= first and of(line)], metric)
  if not values:
    raise source.lacking(run, [metric], lines)
  return values


def _last(run: pathlib.Path, metric: str, evaluations: int) -> list[float]:
  values = _values(run, metric, lambda line: any(name.startswith("eval") for name in line))
  if len(values) < evaluations:
    raise ValueError(f"{run}: {metric!r} was measured {len(values)} times, and a claim asks for the last {evaluations}")
  return values[-evaluations:]
