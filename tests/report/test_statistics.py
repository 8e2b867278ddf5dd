"""Intervals against formulas by hand and by simulation, and the number of seeds against what it promises."""

import math

import numpy as np
import pytest
from scipy import stats

from agentrl.report import statistics


def test_a_paired_interval_by_hand():
  got = statistics.paired([1.0, 2.0, 3.0])
  # mean 2, s = 1, t(0.975, 2) = 4.30265: 4.30265 / sqrt(3) = 2.48414
  assert got == pytest.approx((2.0, 2.0 - 2.48414, 2.0 + 2.48414, 1.0, 3), rel=1e-5)


def test_an_unpaired_interval_is_welchs():
  a, b = [0.1, 0.4, 0.35, 0.8], [0.9, 1.3, 0.2]
  got = statistics.unpaired(a, b)
  reference = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
  assert (got.low, got.high) == pytest.approx((reference.low, reference.high))
  assert got.mean == pytest.approx(np.mean(a) - np.mean(b)) and got.count == 3


@pytest.mark.parametrize("interval", [statistics.paired([0.3]), statistics.unpaired([0.5], [0.1, 0.3])])
def test_one_seed_says_nothing_about_the_spread(interval):
  assert (interval.low, interval.high, interval.count) == (-math.inf, math.inf, 1)
  assert interval.mean == pytest.approx(0.3) and math.isnan(statistics.seeds_needed(interval))


@pytest.mark.parametrize(
  "interval",
  [
    statistics.paired([0.5, 0.5]),
    statistics.paired([0.9 - 0.4, 0.8 - 0.3]),  # 0.5, and 0.5 with a rounding error
    statistics.unpaired([0.75] * 3, [0.25, 0.25]),
    statistics.unpaired([0.6] * 3, [0.1] * 3),  # NumPy gives three times 0.1 a variance of 1e-34
  ],
)
def test_equal_seeds_say_nothing_about_the_spread(interval):
  assert (interval.mean, interval.low, interval.high, interval.spread) == (pytest.approx(0.5), -math.inf, math.inf, 0)
  assert math.isnan(statistics.seeds_needed(interval))


def test_the_order_of_seeds_by_hand():
  # Six pairs in one order: 2 / 2^6 = 0.03125; five of six: 2 (6 + 1) / 64 = 0.21875.
  assert statistics.lower_by_chance([1.0] * 6, [math.inf] * 6, pairs=True) == pytest.approx(0.03125)
  assert statistics.lower_by_chance([1.0] * 6, [2.0] * 5 + [1.0], pairs=True) == pytest.approx(0.21875)
  assert statistics.lower_by_chance([math.inf] * 6, [2.0] * 6, pairs=True) == 1.0
  # Of the 70 orders of four and four, one has all of the first in front: 2 / 70; of 20 of three and three: 2 / 20.
  assert statistics.lower_by_chance([1, 2, 3, 4], [5, 6, 7, 8], pairs=False) == pytest.approx(2 / 70)
  assert statistics.lower_by_chance([1, 2, 3], [5, 6, 7], pairs=False) == pytest.approx(0.1)
  assert statistics.lower_by_chance([5, 6, 7, 8], [1, 2, 3, 4], pairs=False) == 1.0


@pytest.mark.parametrize("values", [[], [1.0, math.inf], [math.nan]])
def test_what_is_no_number_has_no_interval(values):
  with pytest.raises(ValueError, match="finite numbers"):
    statistics.paired(values)


def covered(intervals, truth):
  return np.mean([i.low <= truth <= i.high for i in intervals])


def test_nineteen_intervals_in_twenty_cover_the_truth():
  random = np.random.default_rng(0)
  pairs = [statistics.paired(random.normal(0.3, 1.0, 4)) for _ in range(2000)]
  arms = [statistics.unpaired(random.normal(1, 2.0, 6), random.normal(0, 1.0, 4)) for _ in range(2000)]
  # A share of 2,000 has a standard deviation of 0.005.
  assert covered(pairs, 0.3) == pytest.approx(0.95, abs=0.015)
  assert covered(arms, 1.0) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("mean", "spread"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.5)])
def test_as_many_seeds_as_are_told_find_the_difference_four_times_in_five(mean, spread):
  needed = statistics.seeds_needed(statistics.Interval(mean, -1.0, 2.0, spread, 3))
  random = np.random.default_rng(1)

  def found(count):
    return np.mean([statistics.paired(random.normal(mean, spread, count)).low > 0 for _ in range(1000)])

  # The formula takes Student's quantile for the non-central one, which asks for a little more than it must.
  assert found(needed) > 0.77 and found(needed - 2 if needed > 4 else 2) < 0.8


def test_seeds_by_hand_and_where_none_would_do():
  # n = 10: t(0.975, 9) + t(0.8, 9) = 2.2622 + 0.8834 = 3.1456, squared 9.89 <= 10; n = 9: (2.306 + 0.8889)^2 = 10.2 > 9
  assert statistics.seeds_needed(statistics.Interval(1.0, 0.0, 0.0, 1.0, 5)) == 10
  assert statistics.seeds_needed(statistics.Interval(0.0, -1.0, 1.0, 1.0, 5)) == math.inf
  assert statistics.seeds_needed(statistics.Interval(0.001, -1.0, 1.0, 1.0, 5)) == math.inf
