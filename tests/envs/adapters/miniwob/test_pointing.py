"""Solvers that choose, count and point, on pages made by hand: no browser."""

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")

from agentrl.envs.adapters.miniwob.pointing import SOLVERS
from agentrl.envs.adapters.miniwob.reader import Page

SUBMIT = ("click", {"ref": 9})


def done(name, instruction, *lines):
  """The calls of the solver of a page that stays as it is."""
  page = Page("\n".join([f"Instruction: {instruction}", *lines, '[9] button "Submit" @1,90']))
  return [(call.name, dict(call.arguments)) for call in SOLVERS[name](page)]


def test_one_option_or_several_are_chosen():
  chosen = ("select", {"ref": 1, "option": "Ann"})
  assert done("choose-list", "Select Ann from the list and click Submit.", "[1] select @1,1") == [chosen, SUBMIT]
  several = [("select", {"ref": 1, "option": name}) for name in ("Ann", "Bo")]
  instruction = "Select Ann, Bo from the scroll list and click Submit."
  assert done("click-scroll-list", instruction, "[1] multiselect @1,1") == [*several, SUBMIT]


@pytest.mark.parametrize(("wanted", "key"), [(2, "ArrowUp"), (-3, "ArrowDown"), (0, "")])
def test_a_spinner_is_turned_as_often_as_its_number(wanted, key):
  calls = done("use-spinner", f"Select {wanted} with the spinner and hit Submit.", '[1] textbox value="0" @1,1')
  assert calls == [("click", {"ref": 1}), *[("press", {"key": key})] * abs(wanted), SUBMIT]


def test_points_between_and_on_circles():
  circles = "[1] circle @10,20", "[2] circle @30,50"
  assert done("find-midpoint", "Find the midpoint.", *circles) == [("click_at", {"x": 20, "y": 35}), SUBMIT]
  assert done("circle-center", "Find the center.", circles[0]) == [("click_at", {"x": 10, "y": 20}), SUBMIT]
