"""A MiniWoB page as text: one line for each element, in reading order.

    [3] checkbox "Fries" checked @14,88
    [4] textbox #tt value="Ann" focused @73,76
    [7] circle fill=red size=20x20 @95,120
    [-] text "Select the items" @40,60

A line has the element's number, its role, its name, and what else can be seen of it. Elements without a name show their
id, or else their classes. `@x,y` is the middle, in pixels of the page. Text that stands beside elements has no number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_ROW_PIXELS = 6.0  # elements whose middles are that close in height stand in one row
_NAME_CHARS = 1500
_TALL = 24.0  # px: text of more than one line, whose middle alone does not say where it begins and ends
_COLORS = {
  "#000000": "black", "#ffffff": "white", "#808080": "gray", "#ff0000": "red", "#00ff00": "lime", "#008000": "green",
  "#0000ff": "blue", "#ffff00": "yellow", "#ff00ff": "magenta", "#00ffff": "cyan", "#ffa500": "orange",
  "#808000": "olive", "#800000": "maroon", "#000080": "navy", "#008080": "teal", "#c0c0c0": "silver",
  "#800080": "purple", "#ffc0cb": "pink", "#a52a2a": "brown", "#ee82ee": "violet", "#d3d3d3": "lightgray",
}  # fmt: skip
_GRAPHICS = (
  "rect",
  "circle",
  "ellipse",
  "polygon",
  "polyline",
  "path",
  "line",
  "image",
  "use",
  "box",
  "canvas",
  "area",
)


def page_text(rows: Sequence[Mapping[str, Any]], max_chars: int, skip: int = 0) -> str:
  """The page as lines, cut to whole ones with a note that says how many are left out.

  Args:
    rows: as `page` lists them.
    max_chars: of the lines; the notes come on top.
    skip: lines to leave out at the beginning.
  """
  lines = [line_of(row) for row in reading_order(rows)]
  shown, used = [], 0
  for line in lines[skip:]:
    used += len(line) + 1
    if used > max_chars and shown:
      break
    shown.append(line[:max_chars])
  before = [f"[{skip} elements before these]"] if skip else []
  after = len(lines) - skip - len(shown)
  rest = [f"[{after} more elements: look(skip={skip + len(shown)}) shows them]"] if after > 0 else []
  return "\n".join([*before, *(shown or ["[no element here]"]), *rest])


def reading_order(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """Rows of the page from top to bottom, each from left to right."""
  ordered: list[Mapping[str, Any]] = []
  row: list[Mapping[str, Any]] = []
  for element in sorted(rows, key=_height):
    if row and _height(element) - _height(row[0]) > _ROW_PIXELS:
      ordered += sorted(row, key=lambda one: one["x"])
      row = []
    row.append(element)
  return ordered + sorted(row, key=lambda one: one["x"])


def line_of(row: Mapping[str, Any]) -> str:
  """One element."""
  parts = [f"[{row.get('ref', '-')}]", row["role"]]
  if row["name"]:
    parts.append(_quoted(row["name"]))
  parts += [*_identity(row), *_content(row), *row["states"], *_looks(row)]
  if not row["seen"]:
    parts.append("out-of-view")
  return " ".join([*parts, f"@{_pixel(row['x'])},{_pixel(row['y'])}"])


def color_name(css: str) -> str:
  """A computed CSS colour as a name, or else as hexadecimal; "" where nothing is painted."""
  numbers = [float(number) for number in re.findall(r"[\d.]+", css)]
  if not css.startswith("rgb") or len(numbers) < 3 or (len(numbers) == 4 and numbers[3] == 0):
    return ""
  code = "#" + "".join(f"{round(number):02x}" for number in numbers[:3])
  return _COLORS.get(code, code)


def _height(row: Mapping[str, Any]) -> float:
  """Where an element stands: its middle, and of an area around others its upper edge."""
  return row["y"] - row["h"] / 2 if row["role"] == "area" else row["y"]


def _identity(row: Mapping[str, Any]) -> list[str]:
  """What a program's author calls the element, where the page says nothing."""
  if row["name"] and row["role"] not in ("textbox", "textarea", "select", "multiselect"):
    return []
  if row.get("id"):
    return [f"#{row['id']}"]
  if row["name"]:
    return []
  return [f".{name}" for name in row.get("classes", "").split()[:3]]


def _content(row: Mapping[str, Any]) -> list[str]:
  parts = []
  if "value" in row:
    parts.append(f"value={_quoted(row['value'])}")
  if "options" in row:
    parts.append(f"options={json.dumps(row['options'], ensure_ascii=False)}")
    parts.append(f"chosen={json.dumps(row['chosen'], ensure_ascii=False)}")
  if "range" in row:
    parts.append(f"range={'..'.join(row['range'])}")
  if "scrolled" in row:
    parts.append(f"scrolled={row['scrolled'][0]}/{row['scrolled'][1]}")
  return parts


def _looks(row: Mapping[str, Any]) -> list[str]:
  """Colours and sizes, where they are what there is to see; and whether text without a widget is to be clicked."""
  parts = []
  if row.get("picture"):
    parts.append(f"picture={row['picture']}")
  if row.get("pointer") and row["role"] in ("text", "box", "item", "cell", "image"):
    parts.append("clickable")
  if "fill" in row:
    painted = ("stroke",) if row["role"] == "line" else ("fill", "stroke")
    parts += [f"{key}={name}" for key in painted if (name := color_name(row[key]))]
  elif row["role"] == "box" and (name := color_name(row.get("background", ""))):
    parts.append(f"fill={name}")
  if "points" in row:
    parts.append(f"corners={row['points']}")
  if "ends" in row:
    parts.append("from={:g},{:g} to={:g},{:g}".format(*row["ends"]))
  if row["role"] in _GRAPHICS or (row["h"] > _TALL and row["role"] in ("text", "textarea")):
    parts.append(f"size={_pixel(row['w'])}x{_pixel(row['h'])}")
  return parts


def _quoted(text: str) -> str:
  rest = len(text) - _NAME_CHARS
  return json.dumps(text if rest <= 0 else f"{text[:_NAME_CHARS]}... ({rest} characters more)", ensure_ascii=False)


def _pixel(value: float) -> int:
  return round(value)
