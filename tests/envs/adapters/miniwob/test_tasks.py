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


def test_what_is_chosen_is_of_the_package():
  assert tasks.select("click-test", 1) == ("click-test",)
  assert tasks.select(["click-test", "click-link", "click-test"], 1) == ("click-test", "click-link")
  for one in ("click-tset", ["click-link", "click-tset"]):
    with pytest.raises(ValueError, match=r"called 'click-tset': did you mean 'click-test.*use-slider-2$"):
      tasks.select(one, 1)
  with pytest.raises(ValueError, match=r"no MiniWoB task or subset is called 'my\.pages:SUBSET'"):
    tasks.select("my.pages:SUBSET", 1)
