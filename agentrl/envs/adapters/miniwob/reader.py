"""The text of a MiniWoB page, read back: what a scripted solver knows."""

from __future__ import annotations

import dataclasses
import json
import re

from agentrl.types import ToolCall

_LINE = re.compile(
  r'\[(?P<ref>\d+|-)\] (?P<role>[\w-]+)(?: (?P<name>"(?:[^"\\]|\\.)*"))?(?P<rest>.*) @(?P<x>-?\d+),(?P<y>-?\d+)$'
)


@dataclasses.dataclass(frozen=True)
class Element:
  """One line of an observation.

  Attributes:
    ref: its number; 0 for text without one.
    role: such as "button".
    name: the text that it shows or is labelled with; may be empty.
    rest: what stands between the name and the position.
    x: pixels of its middle, from the left.
    y: pixels of its middle, from the top.
  """

  ref: int
  role: str
  name: str
  rest: str
  x: int
  y: int

  @property
  def value(self) -> str:
    """Of a field; "" where it has none."""
    found = re.search(r'value=("(?:[^"\\]|\\.)*")', self.rest)
    return json.loads(found.group(1)) if found else ""

  @property
  def states(self) -> list[str]:
    """Words such as "checked", "#id" and ".class"."""
    return self.rest.split()

  def attribute(self, name: str) -> str:
    """Such as "red" of `fill=red`; "" where there is none."""
    found = re.search(rf"\b{name}=(\S+)", self.rest)
    return found.group(1) if found else ""


class Page:
  """What a solver knows: the instruction, and the elements as they are now.

  Args:
    opening: the environment's first message.
  """

  def __init__(self, opening: str):
    self.instruction = opening.partition("\n")[0].removeprefix("Instruction: ")
    self.elements: list[Element] = []
    self.read(opening)

  def read(self, text: str) -> None:
    """Takes the elements of an observation."""
    found = (_LINE.match(line) for line in text.split("\n"))
    self.elements = [
      Element(
        ref=0 if one["ref"] == "-" else int(one["ref"]),
        role=one["role"],
        name=json.loads(one["name"] or '""'),
        rest=one["rest"],
        x=int(one["x"]),
        y=int(one["y"]),
      )
      for one in found
      if one
    ]

  @property
  def quoted(self) -> list[str]:
    """What the instruction has in quotes."""
    return re.findall(r'"([^"]*)"', self.instruction)

  @property
  def texts(self) -> list[str]:
    """What stands in the page as plain text."""
    return [one.name for one in self.all("text")]

  def all(self, *roles: str, mark: str = "") -> list[Element]:
    """Elements of these roles (of any, where none is given) that have the mark, such as ".star"."""
    return [one for one in self.elements if (not roles or one.role in roles) and (not mark or mark in one.states)]

  def named(self, name: str, *roles: str) -> Element | None:
    """The first element of that very name, or else of that name but for case and punctuation; None: there is none."""
    numbered = [one for one in self.all(*roles) if one.ref]
    same = [one for one in numbered if one.name == name] or [one for one in numbered if _fold(one.name) == _fold(name)]
    return same[0] if same else None

  def submit(self) -> ToolCall:
    """A click on the button that ends the episode."""
    return click(self.named("Submit", "button") or self.all("button")[-1])


def click(element: Element) -> ToolCall:
  """The call that clicks it."""
  return ToolCall("click", {"ref": element.ref})


def typed(element: Element, text: str) -> ToolCall:
  """The call that types into it."""
  return ToolCall("type", {"ref": element.ref, "text": text})


def _fold(text: str) -> str:
  return text.strip().strip(".,;:!?").casefold()
