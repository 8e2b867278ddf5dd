"""Solvers that click, on pages made by hand: no browser."""

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")

from agentrl.envs.adapters.miniwob.clicking import SOLVERS
from agentrl.envs.adapters.miniwob.reader import Page


def clicked(name, instruction, *lines):
  """Numbers of the elements that the solver of a page clicks, where the page stays as it is."""
  page = Page("\n".join([f"Instruction: {instruction}", *lines]))
  return [call.arguments["ref"] for call in SOLVERS[name](page)]


@pytest.mark.parametrize(
  ("name", "instruction", "lines", "wanted"),
  [
    ("click-button", 'Click on the "Ok" button.', ('[1] button "No" @1,1', '[2] button "Ok" @1,9'), [2]),
    ("click-button-sequence", "Click button ONE, then click button TWO.",
     ('[1] button "TWO" @1,1', '[2] button "ONE" @1,9'), [2, 1]),
    ("click-dialog-2", 'Click the button in the dialog box labeled "x".',
     ('[1] button "Close" @1,1', '[2] button "OK" @1,9'), [1]),
    ("click-option", "Select two and click Submit.",
     ('[1] radio "one" @1,1', '[2] radio "two" @1,5', '[3] button "Submit" @1,9'), [2, 3]),
    ("click-checkboxes", "Select b, a and click Submit.",
     ('[1] checkbox "a" @1,1', '[2] checkbox "b" @1,5', '[3] button "Submit" @1,9'), [2, 1, 3]),
    ("click-checkboxes", "Select nothing and click Submit.",
     ('[1] checkbox "a" @1,1', '[3] button "Submit" @1,9'), [3]),
    ("click-tab", "Click on Tab #2.", ('[1] tab "Tab #1" @1,1', '[2] tab "Tab #2" @9,1'), [2]),
    ("click-tab-2", 'Switch between the tabs to find and click on the link "dui".',
     ('[1] tab "Tab #1" expanded @1,1', '[2] tab "Tab #2" @9,1', '[3] link "dui" @1,9'), [3]),
  ],
)  # fmt: skip
def test_what_is_clicked(name, instruction, lines, wanted):
  assert clicked(name, instruction, *lines) == wanted
