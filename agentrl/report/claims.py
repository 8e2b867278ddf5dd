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
    Direction(self.direction)
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
    pairs: whether seeds were compared one by one.
    seeds_needed: that would decide it, see `statistics.seeds_needed`; NaN where that cannot be told.
    note: why it is undecided, where the interval is not the reason.
  """

  claim: Claim
  verdict: Verdict
  interval: statistics.Interval | None = None
  means: tuple[float, float] = (math.nan, math.nan)
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
    return Judgement(claim, Verdict.UNDECIDED, None, means, pairs, note="a cost of 0 has no ratio")
  values = [[math.log(r.value) if claim.measure.ratio else r.value for r in side] for side in (one, two)]
  if pairs:
    interval = statistics.paired([a - b for a, b in zip(*values, strict=True)])
  else:
    interval = statistics.unpaired(*values)
  verdict, note = _verdict(claim, interval, one, two)
  needed = statistics.seeds_needed(interval) if verdict is Verdict.UNDECIDED and not note else math.nan
  return Judgement(claim, verdict, interval, means, pairs, needed, note)


def _verdict(
  claim: Claim, interval: statistics.Interval, one: list[Reading], two: list[Reading]
) -> tuple[Verdict, str]:
  """The verdict, and why it is undecided where the interval would say more than the readings do."""
  higher, lower = interval.low > 0, interval.high < 0
  if not (higher or lower):
    return Verdict.UNDECIDED, ""
  # The smaller cost has to be known; the larger one may be larger still.
  smaller, name = (two, claim.against) if higher else (one, claim.arm)
  if any(reading.at_least for reading in smaller):
    return Verdict.UNDECIDED, f"{name} did not get there in every seed"
  holds = higher if Direction(claim.direction) is Direction.HIGHER else lower
  return Verdict.HOLDS if holds else Verdict.REVERSED, ""


def _mean(readings: Sequence[Reading], *, ratio: bool) -> float:
  values = np.asarray([reading.value for reading in readings])
  if not ratio:
    return float(values.mean())
  return float(np.exp(np.log(values).mean())) if (values > 0).all() else 0.0


def _number(text: str) -> tuple[int, str]:
  return (int(text), text) if text.isdecimal() else (-1, text)
