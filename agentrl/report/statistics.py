"""Differences between seeds: intervals, and how many seeds would tell two arms apart.

A seed's runs that begin with the same cold start are pairs, whose differences have an interval of their own (`paired`);
runs that share nothing are compared by the means of both arms (`unpaired`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
POWER = 0.8
MOST_SEEDS = 1000  # more are not worth a number
_ROUNDING = 1e-12  # numbers that differ by less, against the largest of them or 1, are equal


class Interval(NamedTuple):
  """An estimate of a mean difference.

  Attributes:
    mean: of the differences.
    low, high: bounds of the interval; infinite where the seeds do not tell their spread: one, or equal ones.
    spread: standard deviation of one seed's difference; NaN where there is one seed.
    count: seeds.
  """

  mean: float
  low: float
  high: float
  spread: float
  count: int


def paired(differences: Sequence[float], *, level: float = LEVEL) -> Interval:
  """Student's interval of the mean, mean +- t s / sqrt(n) with n - 1 degrees of freedom.

  Args:
    differences: `[n]`, one of each seed.
    level: share of such intervals that cover the true mean, where differences are normal.

  Raises:
    ValueError: there are none.
  """
  values = _finite(differences)
  count, mean = len(values), float(values.mean())
  spread = math.sqrt(_variance(values))
  if not spread > 0:
    return Interval(mean, -math.inf, math.inf, spread, count)
  half = float(stats.t.ppf((1 + level) / 2, count - 1)) * spread / math.sqrt(count)
  return Interval(mean, mean - half, mean + half, spread, count)


def unpaired(values: Sequence[float], others: Sequence[float], *, level: float = LEVEL) -> Interval:
  """Welch's interval of mean(values) - mean(others), whose spreads may differ.

  With a = s^2 / n of each arm it is +- t sqrt(a + a'), with (a + a')^2 / (a^2 / (n - 1) + a'^2 / (n' - 1)) degrees of
  freedom (Welch, 1947). `spread` is sqrt(s^2 + s'^2), `count` the smaller number of seeds.

  Args:
    values, others: `[n]` and `[n']`, one number of each seed.

  Raises:
    ValueError: an arm has none.
  """
  values, others = _finite(values), _finite(others)
  mean, count = float(values.mean() - others.mean()), min(len(values), len(others))
  variance, other = _variance(values), _variance(others)
  spread = math.sqrt(variance + other)
  if not spread > 0:
    return Interval(mean, -math.inf, math.inf, spread, count)
  a, b = variance / len(values), other / len(others)
  freedom = (a + b) ** 2 / (a**2 / (len(values) - 1) + b**2 / (len(others) - 1))
  half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(a + b)
  return Interval(mean, mean - half, mean + half, spread, count)


def lower_by_chance(values: Sequence[float], others: Sequence[float], *, pairs: bool) -> float:
  """Probability that one of two arms is so clearly the lower one by chance, where only the order of seeds is known.

  Of pairs that of the sign test, twice P(k or more of n) of a fair coin, with k pairs whose first number is the lower
  one; else that of the exact rank test (Mann and Whitney, 1947), twice the probability of one side. At most 1.

  Args:
    values, others: `[n]` and `[n']`, one number of each seed, infinite where it may be any; of pairs in their order.
  """
  values, others = np.asarray(values, float), np.asarray(others, float)
  if pairs:
    tail = stats.binomtest(int(np.sum(values < others)), len(values), alternative="greater").pvalue
  else:
    tail = stats.mannwhitneyu(values, others, alternative="less", method="exact").pvalue
  return min(1.0, 2 * float(tail))


def seeds_needed(interval: Interval, *, power: float = POWER, level: float = LEVEL) -> float:
  """Seeds that would tell the difference from 0, if it and its spread are what they seem.

  The smallest n with n >= ((t(1 - (1 - level) / 2, n - 1) + t(power, n - 1)) s / d)^2: such an interval then leaves 0
  out with a probability of `power`. Both t are quantiles of Student's distribution, d is the mean, s the spread.

  Returns:
    n; infinite above `MOST_SEEDS` or without a difference; NaN where the seeds do not tell their spread.
  """
  if not interval.spread > 0:
    return math.nan
  if not interval.mean:
    return math.inf
  ratio = interval.spread / abs(interval.mean)
  for count in range(2, MOST_SEEDS + 1):
    quantiles = stats.t.ppf((1 + level) / 2, count - 1) + stats.t.ppf(power, count - 1)
    if count >= (quantiles * ratio) ** 2:
      return count
  return math.inf


def _variance(values: np.ndarray) -> float:
  """Of one seed's number; NaN of a single one, 0 where all are equal but for rounding."""
  if len(values) == 1:
    return math.nan
  return 0.0 if np.ptp(values) <= _ROUNDING * max(1.0, np.abs(values).max()) else float(values.var(ddof=1))


def _finite(values: Sequence[float]) -> np.ndarray:
  array = np.asarray(values, float)
  if not array.size or not np.isfinite(array).all():
    raise ValueError(f"an interval needs finite numbers, at least one, not {list(values)}")
  return array
