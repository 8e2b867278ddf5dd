"""The kinds of pages of MiniWoB++, and subsets of them by name."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
import miniwob

from agentrl.envs.adapters.miniwob import solvers
from agentrl.named import check_name

# As the package registers them, 128 in version 1.1.0.
NAMES = tuple(
  spec.id.removeprefix(f"{miniwob.__name__}/").rsplit("-v", 1)[0]
  for spec in gymnasium.registry.values()
  if spec.id.startswith(f"{miniwob.__name__}/")
)
# A few clicks, or a field or two, all of it written in the page.
EASY = (
  "choose-list", "circle-center", "click-button", "click-button-sequence", "click-checkboxes",
  "click-checkboxes-transfer", "click-collapsible", "click-collapsible-nodelay", "click-color", "click-dialog",
  "click-dialog-2", "click-link", "click-option", "click-tab", "click-test", "click-test-2", "click-test-transfer",
  "click-widget", "email-inbox-delete", "email-inbox-important", "enter-date", "enter-password", "enter-text",
  "enter-text-2", "enter-text-dynamic", "enter-time", "find-word", "focus-text", "focus-text-2", "grid-coordinate",
  "identify-shape", "login-user", "read-table", "scroll-text", "simple-algebra", "simple-arithmetic",
  "text-transform", "unicode-test", "visual-addition",
)  # fmt: skip
# Many steps, free language, or what can only be seen: angles, wheels, a canvas. Some need a picture of the page, which
# the text has not (the polygon of count-sides, the colour of use-colorwheel-2).
HARD = (
  "bisect-angle", "book-flight", "book-flight-nodelay", "choose-date", "choose-date-medium", "choose-date-nodelay",
  "click-menu-2", "click-pie", "click-pie-nodelay", "count-sides", "daily-calendar", "drag-cube", "drag-items-grid",
  "drag-shapes", "drag-shapes-2", "drag-sort-numbers", "draw-circle", "draw-line", "email-inbox-forward-nl",
  "email-inbox-forward-nl-turk", "email-inbox-nl-turk", "flight.AA", "flight.Alaska", "flight.Alaska-auto",
  "highlight-text", "highlight-text-2", "hot-cold", "number-checkboxes", "order-food", "phone-book",
  "resize-textarea", "right-angle", "social-media-all", "social-media-some", "stock-market", "terminal",
  "text-editor", "tic-tac-toe", "use-colorwheel", "use-colorwheel-2", "use-slider-2",
)  # fmt: skip
SUBSETS = {
  "all": NAMES,
  "easy": tuple(name for name in NAMES if name in EASY),
  "medium": tuple(name for name in NAMES if name not in EASY and name not in HARD),
  "hard": tuple(name for name in NAMES if name in HARD),
  "solved": tuple(name for name in NAMES if name in solvers.SOLVERS),
}
_LEVELS = ("easy", "medium", "hard")


def select(tasks: str | Sequence[str], difficulty: int) -> tuple[str, ...]:
  """Names of pages.

  Args:
    tasks: a name, the name of a subset, a list of names, or "" for the subset of the difficulty.
    difficulty: 1 to 3.

  Raises:
    ValueError: an unknown name or difficulty.
  """
  if difficulty not in (1, 2, 3):
    raise ValueError(f"miniwob has difficulties 1 to 3, not {difficulty!r}")
  if not tasks:
    return SUBSETS[_LEVELS[difficulty - 1]]
  known = SUBSETS | {name: (name,) for name in NAMES}
  chosen = [tasks] if isinstance(tasks, str) else tasks
  for one in chosen:
    check_name(known, one, kind="MiniWoB task or subset")
  return tuple(dict.fromkeys(name for one in chosen for name in known[one]))


def page_of(name: str) -> str:
  """Path of a page under the package's folder of pages, without the ending."""
  if name.startswith("flight."):
    return f"flight/{name.removeprefix('flight.')}/wrapper"
  return f"miniwob/{name}"
