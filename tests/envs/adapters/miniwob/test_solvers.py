"""A demonstration: the solver's calls, played in the environment, and an error where they do not win. No browser."""

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")

from agentrl.envs.adapters.miniwob import clicking, filling, pointing
from agentrl.envs.adapters.miniwob.solvers import SOLVERS, demonstrate
from agentrl.envs.base import NoDemonstration
from agentrl.types import Message, Observation, Task


class World:
  """A page with two buttons, of which the first must be pressed before the second."""

  def __init__(self, correct=1.0):
    self._correct, self.pressed = correct, []

  def reset(self, task, seed):
    return [Message("user", 'Instruction: ONE, then TWO.\n[1] button "ONE" @1,1\n[2] button "old" @1,9')]

  def step(self, action):
    self.pressed.append(action.calls[0].arguments["ref"])
    done = len(self.pressed) == 2
    return Observation('[2] button "TWO" @1,9', done=done, parts={"correct": self._correct} if done else {})


def task_of(name):
  return Task("t", "miniwob", "?", data={"name": name})


def test_it_reads_the_page_again_after_every_action():
  world = World()
  actions = demonstrate(world, task_of("click-button-sequence"))
  assert [action.calls[0].arguments["ref"] for action in actions] == world.pressed == [1, 2]


def test_a_demonstration_that_does_not_win_is_an_error():
  with pytest.raises(ValueError, match=r"the solver of click-button-sequence failed at 'ONE, then TWO.'"):
    demonstrate(World(correct=0.0), task_of("click-button-sequence"))


def test_a_page_without_a_solver_has_no_demonstration():
  with pytest.raises(NoDemonstration, match="no solver is written for the MiniWoB task 'drag-cube'"):
    demonstrate(World(), task_of("drag-cube"))


def test_no_two_modules_solve_the_same_page():
  assert len(SOLVERS) == len(clicking.SOLVERS) + len(filling.SOLVERS) + len(pointing.SOLVERS)
