"""Scripted solvers of MiniWoB pages in which one fills in fields."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentrl.envs.adapters.miniwob.reader import Page, click, typed
from agentrl.types import ToolCall


def _enter_quoted(page: Page) -> Iterator[ToolCall]:
  """The quoted text into each of the fields."""
  for field in page.all("textbox"):
    yield typed(field, page.quoted[0])
  yield page.submit()


def _enter_in_case(page: Page) -> Iterator[ToolCall]:
  text = page.quoted[0]
  yield typed(page.all("textbox")[0], text.lower() if "lower case" in page.instruction else text.upper())
  yield page.submit()


def _login(page: Page) -> Iterator[ToolCall]:
  for mark, text in zip(("#username", "#password"), page.quoted, strict=True):
    yield typed(page.all("textbox", mark=mark)[0], text)
    if popup := page.named("Cancel", "button"):
      yield click(popup)
      yield typed(page.all("textbox", mark=mark)[0], text)
  yield page.submit()


def _focus(page: Page) -> Iterator[ToolCall]:
  number = re.search(r"(\d+)(?:st|nd|rd|th)", page.instruction)
  yield click(page.all("textbox")[int(number.group(1)) - 1 if number else 0])


def _enter_date(page: Page) -> Iterator[ToolCall]:
  month, day, year = re.search(r"(\d+)/(\d+)/(\d+)", page.instruction).groups()
  yield typed(page.all("date")[0], f"{year}-{month}-{day}")
  yield page.submit()


def _enter_time(page: Page) -> Iterator[ToolCall]:
  hour, minute, half = re.search(r"(\d+):(\d+) (AM|PM)", page.instruction).groups()
  yield typed(page.all("time")[0], f"{int(hour) % 12 + 12 * (half == 'PM'):02}:{minute}")
  yield page.submit()


def _find_word(page: Page) -> Iterator[ToolCall]:
  number = int(re.search(r"(\d+)(?:st|nd|rd|th)", page.instruction).group(1))
  words = re.findall(r"[\w-]+", page.elements[0].name)
  yield typed(page.all("textbox")[0], words[number - 1])
  yield page.submit()


def _last_word(page: Page) -> Iterator[ToolCall]:
  yield typed(page.all("textbox")[0], re.findall(r"\w+", page.all("textarea")[0].value)[-1])
  yield page.submit()


def _arithmetic(page: Page) -> Iterator[ToolCall]:
  left, sign, right = re.match(r"(-?\d+) ([+\-x×]) (-?\d+) =", " ".join(page.texts)).groups()
  result = {"+": int(left) + int(right), "-": int(left) - int(right)}.get(sign, int(left) * int(right))
  yield typed(page.all("textbox")[0], str(result))
  yield page.submit()


def _algebra(page: Page) -> Iterator[ToolCall]:
  left, sign, right, total = re.match(r"(\w+) ([+-]) (\w+) = (-?\d+)", " ".join(page.texts)).groups()
  if left == "x":
    x = int(total) - int(right) if sign == "+" else int(total) + int(right)
  else:
    x = int(total) - int(left) if sign == "+" else int(left) - int(total)
  yield typed(page.all("textbox")[0], str(x))
  yield page.submit()


def _read_table(page: Page) -> Iterator[ToolCall]:
  cells = page.all("cell")
  values = {key.name: value.name for key, value in zip(cells[::2], cells[1::2], strict=True)}
  labels = [one.name.rstrip(":") for one in page.all("label")]
  wanted = labels or [re.search(r"value of (.*) into", page.instruction).group(1)]
  for label, field in zip(wanted, page.all("textbox"), strict=True):
    yield typed(field, values[label])
  yield page.submit()


def _copy_paste(page: Page) -> Iterator[ToolCall]:
  number = re.search(r"(\d+)(?:st|nd|rd|th)", page.instruction)
  source = page.all("textarea")[int(number.group(1)) - 1 if number else 0]
  yield click(source)
  yield ToolCall("press", {"key": "Control+a"})
  yield ToolCall("press", {"key": "Control+c"})
  yield click(page.all("textbox")[0])
  yield ToolCall("press", {"key": "Control+v"})
  yield page.submit()


def _text_transform(page: Page) -> Iterator[ToolCall]:
  yield typed(page.all("textbox")[0], "".join(page.texts))
  yield page.submit()


def _count_blocks(page: Page) -> Iterator[ToolCall]:
  yield typed(page.all("textbox")[0], str(len(page.all("box", mark=".addition-block"))))
  yield page.submit()


def _guess_number(page: Page) -> Iterator[ToolCall]:
  low, high = 0, 9
  while True:
    guess = (low + high) // 2
    yield typed(page.all("textbox")[0], str(guess))
    yield page.submit()
    if "higher" in " ".join(page.texts):
      low = guess + 1
    else:
      high = guess - 1


def _autocomplete(page: Page) -> Iterator[ToolCall]:
  start, *end = page.quoted
  yield typed(page.all("textbox")[0], start)
  offers = [one for one in page.all("menuitem", "text", "item", "option") if one.name.startswith(start)]
  yield click(next(one for one in offers if not end or one.name.endswith(end[0])))
  yield page.submit()


def _search_engine(page: Page) -> Iterator[ToolCall]:
  number = int(re.search(r"(\d+)(?:st|nd|rd|th)", page.instruction).group(1))
  yield typed(page.all("textbox")[0], page.quoted[0])
  yield click(page.named("Search", "button"))
  links = [one for one in page.all("link") if not re.fullmatch(r"[<>«»‹›]*|\d|First|Last|Next|Previous", one.name)]
  while number > len(links):
    number -= len(links)
    yield click(page.named(">", "link"))
    links = [one for one in page.all("link") if not re.fullmatch(r"[<>«»‹›]*|\d|First|Last|Next|Previous", one.name)]
  yield click(links[number - 1])


# Name of a kind of page -> its solver.
SOLVERS = {
  "copy-paste": _copy_paste,
  "copy-paste-2": _copy_paste,
  "enter-date": _enter_date,
  "enter-password": _enter_quoted,
  "enter-text": _enter_quoted,
  "enter-text-2": _enter_in_case,
  "enter-text-dynamic": _enter_quoted,
  "enter-time": _enter_time,
  "find-word": _find_word,
  "focus-text": _focus,
  "focus-text-2": _focus,
  "guess-number": _guess_number,
  "login-user": _login,
  "login-user-popup": _login,
  "read-table": _read_table,
  "read-table-2": _read_table,
  "scroll-text": _last_word,
  "search-engine": _search_engine,
  "simple-algebra": _algebra,
  "simple-arithmetic": _arithmetic,
  "text-transform": _text_transform,
  "use-autocomplete": _autocomplete,
  "use-autocomplete-nodelay": _autocomplete,
  "visual-addition": _count_blocks,
}
