"""Claims of papers, judged by recorded runs: each holds, is reversed, or is undecided, with an interval over seeds.

A config file under configs/ lists `CLAIMS`; the runs of an arm are RESULTS/ARM/seed0, seed1 and so on.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agentrl.named import check_name
from agentrl.report import source, statistics
from agentrl.report.measures import AtEqual, CostToReach, Measure, Reading, Spent, values_after_cold_start

BEFORE = "(before RL)"  # as `against`: the arm's own evaluation behind the cold start
_NEEDS_ANOTHER_ARM = (AtEqual, CostToReach, Spent)
# What makes a policy before RL: arms that agree in these begin a seed with the same one.
_COLD_START_READS = ("model", "chat", "task", "cold_start")


class Direction(enum.Enum):
  """Which of two numbers is claimed to be the better one."""

  HIGHER = "higher"
  LOWER = "lower"


class Verdict(enum.Enum):
  """What the recorded runs say of a claim."""

  HOLDS = "holds"
  REVERSED = "reversed"
  UNDECIDED = "undecided"
  NOT_RUN = "not yet run"


@dataclasses.dataclass(frozen=True)
class Claim:
  """One comparison that a paper makes.

  Attributes:
    says: the claim in a sentence.
    arm: of which it is claimed.
    against: another arm, or `BEFORE`.
    measure: what is compared, and at equal what.
    direction: "higher" or "lower": what the arm's number is claimed to be.
    published: the paper's figure, and where it stands; empty: the claim is ours.
  """

  says: str
  arm: str
  against: str
  measure: Measure
  direction: str
  published: str = ""

  def __post_init__(self):
    known = [direction.value for direction in Direction]
    check_name(known, self.direction, kind=f"direction of the claim {self.says!r}")
    if self.against == BEFORE and isinstance(self.measure, _NEEDS_ANOTHER_ARM):
      raise ValueError(f"the claim {self.says!r} compares a cost with what was before RL; name another arm")

  @property
  def arms(self) -> tuple[str, ...]:
    """Names of the arms that it needs runs of."""
    return (self.arm,) if self.against == BEFORE else (self.arm, self.against)


@dataclasses.dataclass(frozen=True)
class Judgement:
  """What the recorded runs say.

  Attributes:
    claim: the claim.
    verdict: see `Verdict`.
    interval: of the difference, arm less the other, or of the logarithm of the ratio; None where nothing was run.
    means: of the arm and of the other, over the seeds compared; of costs the geometric means.
    at_least: which of the means is only known to be at least so large; the interval is then one of bounds.
    pairs: whether seeds were compared one by one.
    seeds_needed: that would decide it, see `statistics.seeds_needed`; NaN where that cannot be told.
    note: why it is undecided, where the interval is not the reason.
  """

  claim: Claim
  verdict: Verdict
  interval: statistics.Interval | None = None
  means: tuple[float, float] = (math.nan, math.nan)
  at_least: tuple[bool, bool] = (False, False)
  pairs: bool = True
  seeds_needed: float = math.nan
  note: str = ""


def runs_of(results: pathlib.Path, arm: str) -> dict[int, pathlib.Path]:
  """Folders of the recorded runs of an arm, by seed."""
  named = {path.name.removeprefix("seed"): path for path in (results / arm).glob("seed*")}
  return {int(seed): named[seed] for seed in sorted(named, key=_number) if seed.isdecimal()}


def judge(claim: Claim, results: pathlib.Path) -> Judgement:
  """Judges a claim by the recorded runs below `results`.

  Seeds are compared one by one where their runs began with the same cold start, else the arms by their means.

  Raises:
    ValueError: a run lacks a metric that the claim names.
  """
  runs = runs_of(results, claim.arm)
  others = runs if claim.against == BEFORE else runs_of(results, claim.against)
  seeds = [seed for seed in runs if seed in others and _begin_alike(runs[seed], others[seed])]
  if not runs or not others:
    return Judgement(claim, Verdict.NOT_RUN)
  if seeds:
    readings = [_readings(claim, runs[seed], others[seed]) for seed in seeds]
    one, two = ([reading[side] for reading in readings] for side in (0, 1))
  else:
    one, two = _apart(claim, list(runs.values()), list(others.values()))
  return _judgement(claim, one, two, pairs=bool(seeds))


def _readings(claim: Claim, run: pathlib.Path, other: pathlib.Path) -> tuple[Reading, Reading]:
  if claim.against != BEFORE:
    return claim.measure.read(run, other)
  return claim.measure.read(run, run)[0], Reading(values_after_cold_start(run, claim.measure.metric)[0])


def _apart(claim: Claim, runs: list[pathlib.Path], others: list[pathlib.Path]) -> tuple[list[Reading], list[Reading]]:
  """Readings of runs of which no two belong together: each with the run of the other arm at its place."""
  longest = max(len(runs), len(others))
  readings = [claim.measure.read(runs[i % len(runs)], others[i % len(others)]) for i in range(longest)]
  return [r[0] for r in readings[: len(runs)]], [r[1] for r in readings[: len(others)]]


def _begin_alike(run: pathlib.Path, other: pathlib.Path) -> bool:
  """Whether two runs of a seed began with the same policy: a cold start of the same settings."""
  if run == other:
    return True
  begun, others = (_beginning(source.read_config(path)) for path in (run, other))
  return begun["cold_start"]["steps"] > 0 and _agree(begun, others)


def _beginning(config: Mapping[str, Any]) -> dict[str, Any]:
  """The settings that a cold start reads; whose it was that was taken over does not matter."""
  read = {section: dict(config[section]) for section in _COLD_START_READS}
  read["cold_start"].pop("run", None)
  return read | {"seed": config["seed"]}


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  """Whether two configs agree in the keys that both have; runs of another version may have others besides."""
  return all(
    _agree(one[key], other[key]) if isinstance(one[key], Mapping) else one[key] == other[key]
    for key in one.keys() & other.keys()
  )


def _judgement(claim: Claim, one: list[Reading], two: list[Reading], *, pairs: bool) -> Judgement:
  means = tuple(_mean(side, ratio=claim.measure.ratio) for side in (one, two))
  if claim.measure.ratio and not all(reading.value > 0 for reading in one + two):
    return Judgement(claim, Verdict.UNDECIDED, None, means, pairs=pairs, note="a cost of 0 has no ratio")
  values = [[math.log(r.value) if claim.measure.ratio else r.value for r in side] for side in (one, two)]
  if pairs:
    interval = statistics.paired([a - b for a, b in zip(*values, strict=True)])
  else:
    interval = statistics.unpaired(*values)
  at_least = tuple(any(reading.at_least for reading in side) for side in (one, two))
  lower, higher, note = _by_order(claim, one, two, pairs=pairs) if any(at_least) else _by_interval(interval)
  verdict = Verdict.UNDECIDED
  if lower or higher:
    verdict = Verdict.HOLDS if higher == (Direction(claim.direction) is Direction.HIGHER) else Verdict.REVERSED
  needed = math.nan if note or lower or higher else statistics.seeds_needed(interval)
  return Judgement(claim, verdict, interval, means, at_least, pairs, needed, note)


def _by_interval(interval: statistics.Interval) -> tuple[bool, bool, str]:
  """Whether the arm is lower or higher than the other, and why neither is known, unless 0 lies in the interval."""
  note = "no seed differs from another, which does not tell their spread" if interval.spread == 0 else ""
  return interval.high < 0, interval.low > 0, note


def _by_order(claim: Claim, one: list[Reading], two: list[Reading], *, pairs: bool) -> tuple[bool, bool, str]:
  """The same where some readings are bounds: how far they are from others is not known, their order may be."""
  bounds = [[reading.value for reading in side] for side in (one, two)]
  unbounded = [[math.inf if reading.at_least else reading.value for reading in side] for side in (one, two)]
  lower, higher = (
    statistics.lower_by_chance(unbounded[side], bounds[1 - side], pairs=pairs) <= 1 - statistics.LEVEL
    for side in (0, 1)
  )
  names = [name for name, side in zip(claim.arms, (one, two), strict=True) if any(r.at_least for r in side)]
  note = f"{' and '.join(names)} did not get there in every seed, and the order of the seeds may be chance"
  return lower, higher, "" if lower or higher else note


def _mean(readings: Sequence[Reading], *, ratio: bool) -> float:
  values = np.asarray([reading.value for reading in readings])
  if not ratio:
    return float(values.mean())
  return float(np.exp(np.log(values).mean())) if (values > 0).all() else 0.0


def _number(text: str) -> tuple[int, str]:
  return (int(text), text) if text.isdecimal() else (-1, text)
