"""What `each` makes of a function of one episode."""

import inspect

import pytest

from agentrl.named import settings_of, with_settings
from agentrl.rewards.contract import each
from agentrl.types import EnvironmentFailed, FailureKind, Task

TASK = Task(id="t-0", family="tests", question="?")


@each
def share(trajectory, task, *, of, plus=0.0):
  """A doc."""
  return trajectory / of + plus


LINE = inspect.getsourcelines(share.__wrapped__)[1] + 3  # of its `return`


def test_each_asks_about_one_episode_after_another():
  assert share([1, 2], TASK, {}, of=4) == [0.25, 0.5]
  assert share.__doc__ == "A doc." and share.__name__ == "share"


def test_its_settings_are_those_of_the_function():
  assert [*inspect.signature(share).parameters] == ["episodes", "task", "memory", "of", "plus"]
  assert settings_of(share) == {"plus": 0.0}
  assert with_settings(share, {"of": 2, "plus": 1.0}, section="x")([1], TASK, {}) == [1.5]
  with pytest.raises(ValueError, match=r"x\.off: did you mean 'of'"):
    with_settings(share, {"off": 2}, section="x")


def test_an_episode_on_which_it_breaks_gets_the_failure_in_place_of_a_part():
  fine, broken = share([1, "a"], TASK, {}, of=4)
  assert fine == 0.25 and isinstance(broken, EnvironmentFailed) and broken.kind is FailureKind.REWARD
  assert str(broken).startswith("task t-0: the reward part 'share' failed: TypeError")
  assert str(broken).endswith(f" (test_contract.py, line {LINE}, in share)")


def test_what_already_says_that_the_environment_failed_stays_as_it_is():
  told = EnvironmentFailed("no verdict", FailureKind.REWARD)

  def refuses(trajectory, task):
    raise told

  assert each(refuses)([1], TASK, {}) == [told]
