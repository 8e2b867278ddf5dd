"""Scripted solvers of MiniWoB pages in which one clicks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentrl.envs.adapters.miniwob.reader import Page, click, typed
from agentrl.types import ToolCall


def _click_quoted(page: Page) -> Iterator[ToolCall]:
  yield click(page.named(page.quoted[0]))


def _click_only(page: Page) -> Iterator[ToolCall]:
  yield click(page.elements[0])


def _click_numbers(page: Page) -> Iterator[ToolCall]:
  for word in re.findall(r"ONE|TWO", page.instruction):
    yield click(page.named(word, "button"))


def _close_dialog(page: Page) -> Iterator[ToolCall]:
  wanted = page.quoted[0]
  yield click(page.named("Close" if wanted == "x" else wanted, "button"))


def _click_option(page: Page) -> Iterator[ToolCall]:
  yield click(page.named(re.match(r"Select (.*) and click", page.instruction).group(1), "radio"))
  yield page.submit()


def _click_checkboxes(page: Page) -> Iterator[ToolCall]:
  wanted = re.match(r"Select (.*) and click", page.instruction).group(1)
  for name in [] if wanted == "nothing" else wanted.split(", "):
    yield click(page.named(name, "checkbox"))
  yield page.submit()


def _click_tab(page: Page) -> Iterator[ToolCall]:
  yield click(page.named(re.search(r"Tab #\d+", page.instruction).group(), "tab"))


def _search_sections(page: Page) -> Iterator[ToolCall]:
  """Opens one tab after the other until the word is there."""
  wanted = page.quoted[0]
  for tab in page.all("tab"):
    if "expanded" not in tab.states:
      yield click(tab)
    if found := page.named(wanted, "text", "link"):
      yield click(found)
      return


def _expand_section(page: Page) -> Iterator[ToolCall]:
  yield click(page.all("tab")[0])
  yield page.submit()


def _click_color(page: Page) -> Iterator[ToolCall]:
  color = re.search(r"the (\w+) colored", page.instruction).group(1)
  yield click(next(one for one in page.all("box") if one.attribute("fill") in (color, color.replace("grey", "gray"))))


def _click_widget(page: Page) -> Iterator[ToolCall]:
  roles = {"text": "textbox"}
  wanted = page.quoted[0]
  yield click(page.all(roles.get(wanted, wanted))[0])


def _click_menu(page: Page) -> Iterator[ToolCall]:
  *path, last = page.instruction.removeprefix("Select ").split(">")
  for name in path:
    yield ToolCall("hover", {"ref": page.named(name, "menuitem").ref})
  yield click(page.named(last, "menuitem"))


def _click_shades(page: Page) -> Iterator[ToolCall]:
  channel = ("red", "green", "blue").index(re.search(r"shades of (\w+)", page.instruction).group(1))
  named = {"red": "#ff0000", "lime": "#00ff00", "green": "#008000", "blue": "#0000ff"}
  for box in page.all("box"):
    code = named.get(box.attribute("fill"), box.attribute("fill"))
    values = [int(code[at : at + 2], 16) for at in (1, 3, 5)] if code.startswith("#") else [0, 0, 0]
    if values[channel] > max(values[:channel] + values[channel + 1 :]):
      yield click(box)
  yield page.submit()


def _identify_shape(page: Page) -> Iterator[ToolCall]:
  figure = page.elements[0]
  kinds = {"circle": "Circle", "rect": "Rectangle", "polygon": "Triangle"}
  kind = kinds.get(figure.role, "Number" if figure.name.isdigit() else "Letter")
  yield click(page.named(kind, "button"))


def _grid_coordinate(page: Page) -> Iterator[ToolCall]:
  point = re.search(r"\(-?\d+,-?\d+\)", page.instruction).group()
  yield click(page.all("circle", mark=f"#{point}")[0])


def _ascending_numbers(page: Page) -> Iterator[ToolCall]:
  places = sorted((one for one in page.all("text") if one.name.isdigit()), key=lambda one: int(one.name))
  for place in places:  # the first click hides the others
    yield ToolCall("click_at", {"x": place.x, "y": place.y})


def _odd_or_even(page: Page) -> Iterator[ToolCall]:
  for number in [one for one in page.elements if re.fullmatch(r"-?\d+", one.name)]:
    wanted = "Even" if int(number.name) % 2 == 0 else "Odd"
    row = [one for one in page.all("button") if one.name == wanted]
    yield click(min(row, key=lambda one: abs(one.y - number.y)))
  yield page.submit()


def _navigate_tree(page: Page) -> Iterator[ToolCall]:
  """Opens the folders from the top until the name is there."""
  opened: set[int] = set()
  while not (found := page.named(page.quoted[0], "text")):
    folder = next(one for one in page.all("box", mark=".expandable-hitarea") if one.ref not in opened)
    opened.add(folder.ref)
    yield click(folder)
  yield click(found)


def _email(page: Page) -> Iterator[ToolCall]:
  """Opens, forwards, answers, stars or deletes the mail of somebody."""
  sender = re.search(r"(?:the email by|email from) (\w+)", page.instruction).group(1)
  mail = page.named(sender, "text")
  if "trash" in page.instruction or "star icon" in page.instruction:
    icons = page.all(mark=".trash" if "trash" in page.instruction else ".star")
    yield click(min((one for one in icons if one.y > mail.y - 10), key=lambda one: abs(one.y - mail.y)))
    return
  yield click(mail)
  if "reply" in page.instruction:
    yield click(page.named("Reply", "text"))
    yield typed(page.all("textarea")[0], page.quoted[0])
  else:
    yield click(page.named("Forward", "text"))
    to = re.search(r"forward that email to (\w+)", page.instruction).group(1)
    yield typed(page.all("textbox")[0], to)
  yield click(page.all(mark="#send-reply")[0] if page.all(mark="#send-reply") else page.all(mark="#send-forward")[0])


# Name of a kind of page -> its solver.
SOLVERS = {
  "ascending-numbers": _ascending_numbers,
  "click-button": _click_quoted,
  "click-button-sequence": _click_numbers,
  "click-checkboxes": _click_checkboxes,
  "click-checkboxes-large": _click_checkboxes,
  "click-checkboxes-transfer": _click_checkboxes,
  "click-collapsible": _expand_section,
  "click-collapsible-2": _search_sections,
  "click-collapsible-2-nodelay": _search_sections,
  "click-collapsible-nodelay": _expand_section,
  "click-color": _click_color,
  "click-dialog": _close_dialog,
  "click-dialog-2": _close_dialog,
  "click-link": _click_quoted,
  "click-menu": _click_menu,
  "click-option": _click_option,
  "click-shades": _click_shades,
  "click-tab": _click_tab,
  "click-tab-2": _search_sections,
  "click-tab-2-easy": _search_sections,
  "click-tab-2-hard": _search_sections,
  "click-tab-2-medium": _search_sections,
  "click-test": _click_only,
  "click-test-2": _click_numbers,
  "click-test-transfer": _click_numbers,
  "click-widget": _click_widget,
  "email-inbox": _email,
  "email-inbox-delete": _email,
  "email-inbox-forward": _email,
  "email-inbox-important": _email,
  "email-inbox-noscroll": _email,
  "email-inbox-reply": _email,
  "email-inbox-star-reply": _email,
  "grid-coordinate": _grid_coordinate,
  "identify-shape": _identify_shape,
  "navigate-tree": _navigate_tree,
  "odd-or-even": _odd_or_even,
  "unicode-test": _click_quoted,
}
