"""Sets of k samples, of which one success is enough, against all sets that there are."""

import itertools

import numpy as np
import pytest

from agentrl.credit.pass_at_k import pass_at_k
from tests.credit.conftest import dialogue


def group_of(rewards, group=0):
  return [dialogue(10 * group + n, group, [1 + n % 3], [reward]) for n, reward in enumerate(rewards)]


def gained(nobody, trajectories, **settings):
  return [column[0] for column in pass_at_k(nobody, trajectories, **settings).advantages]


def naive(rewards, k):
  """Each sample's mean over the sets of k that hold it of (the set's best less the mean best, over their spread)."""
  sets = list(itertools.combinations(range(len(rewards)), k))
  best = np.asarray([max(rewards[n] for n in chosen) for chosen in sets])
  if best.std() == 0:
    return np.zeros(len(rewards))
  advantage = (best - best.mean()) / best.std()
  return [np.mean([a for a, chosen in zip(advantage, sets, strict=True) if n in chosen]) for n in range(len(rewards))]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize(
  "rewards",
  [(1, 0, 0, 0, 0), (1, 1, 0, 0, 0), (0, 1, 1, 0, 1), (0,) * 5, (1,) * 5, (0.5, -1, 2, 0.5, 0), (3, 3, 0, 1, 1)],
)
def test_against_all_sets(nobody, k, rewards):
  np.testing.assert_allclose(gained(nobody, group_of(rewards), k=k), naive(rewards, k), rtol=1e-5, atol=1e-6)


def test_by_hand(nobody):
  # n = 4, f = 2, k = 2: p = 1 - 1 / 6, s = sqrt(5 / 36) = 0.37268, q = C(1, 1) / C(3, 1) = 1 / 3.
  # Success (1 / 6) / s = 0.44721, failure (1 / 6 - 1 / 3) / s = -0.44721.
  found = gained(nobody, group_of([1, 0, 1, 0]), k=2)
  np.testing.assert_allclose(found, [0.44721, -0.44721, 0.44721, -0.44721], rtol=1e-4)


def test_a_prompt_that_sets_always_solve_teaches_nothing_where_a_mean_would(nobody):
  mixed = [*group_of([1, 1, 1, 0]), *group_of([1, 0, 0, 0], group=1)]
  found = gained(nobody, mixed, k=2)
  assert found[:4] == [0.0] * 4 and found[4] > 0 > found[5]


def test_too_few_samples_are_named(nobody):
  with pytest.raises(ValueError, match=r"algo\.credit_options\.k=4 .* task t0 has 3"):
    pass_at_k(nobody, group_of([1, 0, 0]))
