"""Scripted solvers of MiniWoB pages with lists, sliders, points, and with several looks before the last click."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentrl.envs.adapters.miniwob.reader import Page, click, typed
from agentrl.types import ToolCall

_EARLY_PRICES = 65


def _choose(page: Page) -> Iterator[ToolCall]:
  wanted = re.match(r"Select (.*) from the", page.instruction).group(1)
  target = page.all("select", "multiselect")[0]
  for option in wanted.split(", ") if target.role == "multiselect" else [wanted]:
    yield ToolCall("select", {"ref": target.ref, "option": option})
  yield page.submit()


def _slider(page: Page) -> Iterator[ToolCall]:
  wanted = int(re.search(r"Select (-?\d+)", page.instruction).group(1))
  yield click(page.all("box", mark=".ui-slider-handle")[0])
  yield ToolCall("press", {"key": "Home"})
  least, start = _shown_number(page), page.all("box", mark=".ui-slider-handle")[0]
  yield ToolCall("press", {"key": "End"})
  most, end = _shown_number(page), page.all("box", mark=".ui-slider-handle")[0]
  part = (wanted - least) / (most - least)
  yield ToolCall("click_at", {"x": start.x + part * (end.x - start.x), "y": start.y + part * (end.y - start.y)})
  while (now := _shown_number(page)) != wanted:
    yield ToolCall("press", {"key": "ArrowRight" if wanted > now else "ArrowLeft"})
  yield page.submit()


def _shown_number(page: Page) -> int:
  return int(next(text for text in page.texts if re.fullmatch(r"-?\d+", text)))


def _spinner(page: Page) -> Iterator[ToolCall]:
  wanted = int(re.search(r"Select (-?\d+)", page.instruction).group(1))
  yield click(page.all("textbox")[0])
  for _ in range(abs(wanted)):
    yield ToolCall("press", {"key": "ArrowUp" if wanted > 0 else "ArrowDown"})
  yield page.submit()


def _circle_center(page: Page) -> Iterator[ToolCall]:
  circle = page.all("circle")[0]
  yield ToolCall("click_at", {"x": circle.x, "y": circle.y})
  yield page.submit()


def _midpoint(page: Page) -> Iterator[ToolCall]:
  one, other = page.all("circle")
  yield ToolCall("click_at", {"x": (one.x + other.x) / 2, "y": (one.y + other.y) / 2})
  yield page.submit()


def _drag_box(page: Page) -> Iterator[ToolCall]:
  small, large = page.named("s"), page.named("L")
  yield ToolCall("drag", {"ref": small.ref, "to": large.ref})
  yield page.submit()


def _drag_direction(page: Page) -> Iterator[ToolCall]:
  figure = next(one for one in page.elements if one.role in ("circle", "rect", "polygon"))
  across, down = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}[
    re.search(r"\b(up|down|left|right)\b", page.instruction).group()
  ]
  end = {"to_x": figure.x + 30 * across, "to_y": figure.y + 30 * down}
  yield ToolCall("drag_at", {"x": figure.x, "y": figure.y} | end)
  yield page.submit()


def _find_greatest(page: Page) -> Iterator[ToolCall]:
  cards = page.all("box", mark=".card")
  seen = []
  for card in cards:
    yield click(card)
    seen.append(int(next(text for text in page.texts if text.isdigit())))
  yield click(cards[seen.index(max(seen))])
  yield page.submit()


def _generate_number(page: Page) -> Iterator[ToolCall]:
  rules = {"odd": lambda n: n % 2 == 1, "even": lambda n: n % 2 == 0}
  number = re.search(r"(less|greater) than (\d+)", page.instruction)
  if number:
    bound = int(number.group(2))
    fits = (lambda n: n < bound) if number.group(1) == "less" else (lambda n: n > bound)
  else:
    fits = rules[re.search(r"odd|even", page.instruction).group()]
  while not ((shown := page.texts[0]).isdigit() and fits(int(shown))):
    yield click(page.named("Generate", "button"))
  yield page.submit()


def _buy_ticket(page: Page) -> Iterator[ToolCall]:
  kind = re.search(r"cheapest|most expensive|shortest|longest", page.instruction).group()
  times = [one.name for one in page.all("text") if re.fullmatch(r"\d+h \d+m", one.name)]
  offers = [
    (int(re.search(r"\d+", button.name).group()), [int(part[:-1]) for part in length.split()], button)
    for button, length in zip(page.all("button"), times, strict=True)
  ]
  by = 0 if kind in ("cheapest", "most expensive") else 1
  best = min if kind in ("cheapest", "shortest") else max
  yield click(best(offers, key=lambda offer: offer[by])[2])


def _buy_stock(page: Page) -> Iterator[ToolCall]:
  limit = float(re.search(r"\$([\d.]+)\.$", page.instruction).group(1))
  while float(next(text for text in page.texts if text.startswith("$"))[1:]) > limit:
    # The limit is a price of the second half; until then steps may be long, if not too long to see a low one.
    yield ToolCall("wait", {"seconds": 0.5 if len(page.all("circle")) < _EARLY_PRICES else 0.1})
  yield click(page.named("Buy", "button"))


def _terminal(page: Page) -> Iterator[ToolCall]:
  ending = re.search(r"extension (\.[\w.]+)$", page.instruction)
  yield typed(page.all("textbox")[0], "ls\n")
  files = page.texts[page.texts.index("ls") + 1].split()
  fits = (lambda name: name.endswith(ending.group(1))) if ending else (lambda name: "." not in name)
  yield typed(page.all("textbox")[0], f"rm {next(name for name in files if fits(name))}\n")


# Name of a kind of page -> its solver.
SOLVERS = {
  "buy-ticket": _buy_ticket,
  "choose-list": _choose,
  "circle-center": _circle_center,
  "click-scroll-list": _choose,
  "drag-box": _drag_box,
  "drag-circle": _drag_direction,
  "drag-single-shape": _drag_direction,
  "find-greatest": _find_greatest,
  "find-midpoint": _midpoint,
  "generate-number": _generate_number,
  "stock-market": _buy_stock,
  "terminal": _terminal,
  "use-slider": _slider,
  "use-spinner": _spinner,
}
