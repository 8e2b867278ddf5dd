"""Solvers that fill in fields, on pages made by hand: no browser."""

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")

from agentrl.envs.adapters.miniwob.filling import SOLVERS
from agentrl.envs.adapters.miniwob.reader import Page

BUTTON = '[9] button "Submit" @1,90'


def done(name, instruction, *lines):
  """What the solver of a page does, where the page stays as it is: the text it types, or what it clicks."""
  page = Page("\n".join([f"Instruction: {instruction}", *lines, BUTTON]))
  return [(call.arguments["ref"], call.arguments.get("text")) for call in SOLVERS[name](page)]


@pytest.mark.parametrize(
  ("name", "instruction", "lines", "wanted"),
  [
    ("enter-text", 'Enter "Ann" into the text field.', ('[1] textbox value="" @1,1',), [(1, "Ann"), (9, None)]),
    ("enter-password", 'Enter the password "pw" into both text fields.',
     ('[1] textbox value="" @1,1', '[2] textbox value="" @1,9'), [(1, "pw"), (2, "pw"), (9, None)]),
    ("enter-text-2", 'Type "Ann" in all upper case letters.', ('[1] textbox value="" @1,1',),
     [(1, "ANN"), (9, None)]),
    ("enter-date", "Enter 03/07/2016 as the date.", ('[1] date value="" @1,1',), [(1, "2016-03-07"), (9, None)]),
    ("enter-time", "Enter 12:05 AM as the time.", ('[1] time value="" @1,1',), [(1, "00:05"), (9, None)]),
    ("enter-time", "Enter 3:40 PM as the time.", ('[1] time value="" @1,1',), [(1, "15:40"), (9, None)]),
    ("login-user", 'Enter the username "u" and the password "p".',
     ('[1] textbox #username value="" @1,1', '[2] textbox #password value="" @1,9'), [(1, "u"), (2, "p"), (9, None)]),
    ("focus-text-2", "Focus into the 2nd input textbox.",
     ('[1] textbox value="" @1,1', '[2] textbox value="" @1,9'), [(2, None)]),
    ("scroll-text", "Find the last word.", ('[1] textarea value="one two three." @1,1', '[2] textbox value="" @1,9'),
     [(2, "three"), (9, None)]),
  ],
)  # fmt: skip
def test_what_is_filled_in(name, instruction, lines, wanted):
  assert done(name, instruction, *lines) == wanted
