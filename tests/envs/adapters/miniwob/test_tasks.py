"""The kinds of pages and their subsets."""

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")
from agentrl.envs.adapters.miniwob import tasks
from agentrl.envs.adapters.miniwob.solvers import SOLVERS


def test_there_are_128_kinds_in_subsets():
  subsets = tasks.SUBSETS
  assert len(set(tasks.NAMES)) == 128
  levels = [*subsets["easy"], *subsets["medium"], *subsets["hard"]]
  assert sorted(levels) == sorted(subsets["all"])
  assert set(subsets["easy"]) < set(subsets["solved"]) == set(SOLVERS)
  assert {*tasks.EASY, *tasks.HARD} <= set(tasks.NAMES)
