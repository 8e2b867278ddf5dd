"""What a policy can do in a MiniWoB page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import miniwob

from agentrl.envs.adapters.miniwob import browser
from agentrl.envs.adapters.miniwob.browser import Pointer, Window
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Toolset
from agentrl.types import EnvironmentFailed, Task

ACTION_SECONDS = 1.0  # of the page's clock, which stands still in between
_PAGES = Path(miniwob.__file__).parent / "html"
_CODES = {
  "backspace": "\ue003", "tab": "\ue004", "enter": "\ue007", "escape": "\ue00c", "space": " ", "pageup": "\ue00e",
  "pagedown": "\ue00f", "end": "\ue010", "home": "\ue011", "arrowleft": "\ue012", "arrowup": "\ue013",
  "arrowright": "\ue014", "arrowdown": "\ue015", "insert": "\ue016", "delete": "\ue017",
}  # fmt: skip
_MODIFIERS = {"shift": "\ue008", "control": "\ue009", "ctrl": "\ue009", "alt": "\ue00a"}
_MIDWAY = (0.02, 0.25, 0.5, 0.75, 0.98, 1.0)  # where a drag is on its way; widgets only notice a pointer that moves
_TYPED_CHARS = 1000
_LONGEST_WAIT = 60.0
_NO_TEXT = ("button", "link", "checkbox", "radio", "tab", "menuitem", "option", "select", "multiselect")
_SET_DIRECTLY = ("date", "time", "color", "slider")  # their widgets belong to the browser, not to the page
_SMALL, _LARGE = (160, 210), (375, 667)  # px of a page, and of an airline's


class Page(Toolset):
  """The page of one episode. Its public methods are the tools; each returns what it did, on one line.

  Attributes:
    state: what `page` says of the page after the last action; None once the page was left.
    size: width and height, in pixels.
    skip: lines at the beginning of the page that the policy asked not to see.
  """

  def __init__(self):
    self._window: Window | None = None
    self.size = _SMALL
    self.state: dict[str, Any] | None = None
    self.skip = 0

  def reset(self, task: Task, seed: int) -> None:
    """Opens the task's page; all that is random in it derives from the task. Not a tool."""
    del seed
    self.close()
    self._window = browser.shared().take()
    self.size = _LARGE if task.data["page"].startswith("flight/") else _SMALL
    self._window.open((_PAGES / f"{task.data['page']}.html").as_uri())
    self.state = self._window.call("start", task.data["page_seed"], task.data["mode"], task.data["time_limit"])
    if self.state is None:
      raise EnvironmentFailed(f"task {task.id}: the page went away while it was opened")
    self.skip = 0

  def close(self) -> None:
    """Leaves the window to other episodes. Not a tool."""
    window, self._window = self._window, None
    if window is not None:
      window.give_back()

  @property
  def done(self) -> bool:
    """The episode is over."""
    return self.state is None or self.state["done"]

  @property
  def screenshot(self) -> bytes:
    """PNG of what is seen now."""
    return self._opened.screenshot(*self.size)

  def click(self, ref: int) -> str:
    """Clicks the element with this number.

    Args:
      ref: its number.
    """
    spot = self._spot(ref)
    if spot["tag"] == "SELECT":
      raise ToolArgumentError(f"[{ref}] is a list of options: call select with the option's text")
    self._click(spot["x"], spot["y"])
    return self._after(f"clicked [{ref}]")

  def type(self, ref: int, text: str) -> str:
    """Types text into a field, in place of what it holds. A line break presses Enter.

    Args:
      ref: number of the field.
      text: what to type. Dates are written as 2016-12-31, times as 14:05, colours as #ff0000.
    """
    if len(text) > _TYPED_CHARS:
      raise ToolArgumentError(f"argument 'text' has {len(text)} characters; at most {_TYPED_CHARS} are typed at once")
    spot = self._spot(ref)
    if spot["readonly"]:
      raise ToolArgumentError(f"[{ref}] is read-only: nothing can be typed into it")
    if spot["role"] in _NO_TEXT:
      raise ToolArgumentError(f"[{ref}] takes no text")
    if spot["role"] in _SET_DIRECTLY:
      return self._fill(ref, spot["role"], text)
    self._click(spot["x"], spot["y"])
    if not self._call("focus", ref):
      self._after("")  # the click may have changed the page all the same
      raise ToolArgumentError(f"[{ref}] takes no text")
    self._opened.press([[_CODES["enter"] if one == "\n" else one] for one in text] or [[_CODES["delete"]]])
    return self._after(f"typed into [{ref}]")

  def select(self, ref: int, option: str) -> str:
    """Selects an option of a list; in a list that takes several, adds it, or takes it away if it is selected.

    Args:
      ref: number of the list.
      option: text of the option.
    """
    self._spot(ref)
    outcome = self._call("choose", ref, option)
    match outcome.get("problem"):
      case "no list":
        raise ToolArgumentError(f"[{ref}] is no list of options; click it")
      case "no option":
        raise ToolArgumentError(f"[{ref}] has no option {option!r}; it has: {', '.join(outcome['options'])}")
    return self._after(f"selected {option!r} in [{ref}]")

  def press(self, key: str) -> str:
    """Presses a key, where the focus is.

    Args:
      key: a character, or Enter, Tab, Escape, Backspace, Delete, Space, Home, End, PageUp, PageDown, ArrowUp,
        ArrowDown, ArrowLeft, ArrowRight; with Control+, Shift+ or Alt+ before it, as in Control+c.
    """
    *modifiers, last = key.split("+") if len(key) > 1 and not key.endswith("+") else [key]
    chord = [_code(name, _MODIFIERS) for name in modifiers] + [_code(last, _CODES)]
    self._opened.press([chord])
    return self._after(f"pressed {key}")

  def drag(self, ref: int, to: int) -> str:
    """Drags one element onto the middle of another.

    Args:
      ref: number of the element that is dragged.
      to: number of the element that it is dropped on.
    """
    end, start = self._spot(to, covered=True), self._spot(ref)
    self._drag(start["x"], start["y"], end["x"], end["y"])
    return self._after(f"dragged [{ref}] to [{to}]")

  def drag_at(self, x: float, y: float, to_x: float, to_y: float) -> str:
    """Presses the mouse button at one point, moves to another and lets go: moves, draws, resizes or marks text.

    Args:
      x: of the first point, in pixels.
      y: of the first point.
      to_x: of the second point.
      to_y: of the second point.
    """
    self._check_inside(x, y)
    self._check_inside(to_x, to_y)
    self._drag(x, y, to_x, to_y)
    return self._after(f"dragged from {x:g},{y:g} to {to_x:g},{to_y:g}")

  def click_at(self, x: float, y: float) -> str:
    """Clicks a point of the page; for pictures, whose parts have no number.

    Args:
      x: pixels from the left.
      y: pixels from the top.
    """
    self._check_inside(x, y)
    self._click(x, y)
    return self._after(f"clicked at {x:g},{y:g}")

  def hover(self, ref: int) -> str:
    """Moves the pointer onto an element, without a click; opens menus.

    Args:
      ref: its number.
    """
    spot = self._spot(ref)
    self._opened.point([Pointer("mouseMoved", spot["x"], spot["y"])])
    return self._after(f"pointed at [{ref}]")

  def scroll(self, ref: int, pixels: int) -> str:
    """Scrolls what the element is in, or the element itself.

    Args:
      ref: its number.
      pixels: how far down; negative for up.
    """
    self._spot(ref, covered=True)
    outcome = self._call("scroll", ref, pixels)
    if outcome.get("problem"):
      raise ToolArgumentError(f"nothing around [{ref}] scrolls")
    return self._after(f"scrolled to {outcome['top']} of {outcome['most']}")

  def wait(self, seconds: float) -> str:
    """Lets time pass in the page, which otherwise stands still between actions.

    Args:
      seconds: how long, up to 60.
    """
    if not 0 < seconds <= _LONGEST_WAIT:
      raise ToolArgumentError(f"argument 'seconds' must be above 0 and at most {_LONGEST_WAIT:g}, got {seconds:g}")
    return self._after(f"waited {seconds:g} s", seconds)

  def look(self, skip: int = 0) -> str:
    """Shows the page from a later element on, where it is too long to be shown at once. No time passes.

    Args:
      skip: how many elements to leave out at the beginning.
    """
    if skip < 0:
      raise ToolArgumentError(f"argument 'skip' must not be negative, got {skip}")
    self.skip = skip
    return "looked"

  @property
  def _opened(self) -> Window:
    if self._window is None or self.done:
      raise ToolArgumentError("the episode is over: nothing can be done in the page any more")
    return self._window

  def _call(self, function: str, *arguments: Any) -> Any:
    """What a function of the page returns; an empty dictionary where an action has just left the page."""
    outcome = self._opened.call(function, *arguments)
    return {} if outcome is None else outcome

  def _after(self, text: str, seconds: float = ACTION_SECONDS) -> str:
    """Lets the page work, and reads it."""
    self.state = self._opened.call("state", 1000 * seconds)
    self.skip = 0
    return text

  def _spot(self, ref: int, covered: bool = False) -> dict[str, Any]:
    """Where an element can be clicked, and what it is; in words for the policy where it cannot.

    Args:
      ref: its number.
      covered: its middle is wanted, whatever a click there would reach.
    """
    spot = self._call("point", ref, covered)
    match spot.get("problem"):
      case None if spot.get("disabled") and not covered:
        raise ToolArgumentError(f"[{ref}] is disabled")
      case None:
        return spot
      case "unknown":
        raise ToolArgumentError(f"no element has the number {ref}; use one that the page shows")
      case "gone":
        raise ToolArgumentError(f"[{ref}] is no longer in the page; use a number that the page shows now")
      case "invisible":
        raise ToolArgumentError(f"[{ref}] is not visible now")
    by = f"[{spot['by']}]" if spot["by"] else "something else"
    raise ToolArgumentError(f"[{ref}] cannot be reached: {by} lies over it")

  def _fill(self, ref: int, role: str, text: str) -> str:
    held = self._call("fill", ref, text.strip())
    if role != "slider" and held != text.strip().lower():
      wanted = {
        "date": "a date such as 2016-12-31",
        "time": "a time such as 14:05",
        "color": "a colour such as #ff0000",
      }
      raise ToolArgumentError(f"[{ref}] takes {wanted[role]}, not {text!r}; it now holds {held!r}")
    return self._after(f"set [{ref}] to {held}")

  def _click(self, x: float, y: float) -> None:
    kinds = ("mouseMoved", "mousePressed", "mouseReleased")
    self._opened.point([Pointer(kind, x, y) for kind in kinds])

  def _drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
    way = [Pointer("mouseMoved", x + part * (to_x - x), y + part * (to_y - y), held=True) for part in _MIDWAY]
    start = [Pointer("mouseMoved", x, y), Pointer("mousePressed", x, y)]
    self._opened.point([*start, *way, Pointer("mouseReleased", to_x, to_y)])

  def _check_inside(self, x: float, y: float) -> None:
    width, height = self.size
    if not (0 <= x < width and 0 <= y < height):
      raise ToolArgumentError(f"{x:g},{y:g} is outside the page, which is {width} x {height} pixels")


def _code(name: str, table: dict[str, str]) -> str:
  """WebDriver's code of a key; a single character is its own."""
  if name.lower() in table:
    return table[name.lower()]
  if len(name) == 1 and table is _CODES:
    return name
  kind = "key" if table is _CODES else "modifier"
  raise ToolArgumentError(f"no {kind} is called {name!r}; known: {', '.join(table)}")
