"""What a long run shows: where it is, how fast, how long still, and the two numbers that matter.

On a terminal, a bar; elsewhere (a log file, CI), a plain line every few seconds.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import progress as rich_progress
from rich.console import Console

SMOOTHING = 0.9  # share of the past in the running mean of seconds per step


class Progress:
  """Progress of a run of one or more stages that counts steps; use it in a `with`.

  The first step of a stage compiles what the others run, so it counts for neither rate nor remaining time.

  Args:
    metrics: names of the metrics shown; each stays on show until a newer value comes.
    console: where to; standard error unless given.
    every_s: least seconds between plain lines where there is no terminal; the last step always prints.
    clock: gives seconds.
  """

  def __init__(
    self,
    *,
    metrics: Sequence[str],
    console: Console | None = None,
    every_s: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._names, self._every_s, self._clock = tuple(metrics), every_s, clock
    self._console = console or Console(file=sys.stderr)
    self._shown: dict[str, float] = {}
    self._stage, self._total, self._step, self._seconds_per_step = "", 0, 0, math.nan
    self._compiled = False
    self._last_time, self._last_line = clock(), -math.inf
    self._bar = _bar(self._console)
    self._task = self._bar.add_task("", total=0, stage="", rate="", eta="", values="")

  def start(self, stage: str, step: int, total: int, values: Mapping[str, float] | None = None) -> None:
    """Says which stage begins or goes on, the step it stands at and the step at which it is done."""
    self._stage, self._step, self._total = stage, step, total
    self._last_time, self._last_line, self._seconds_per_step, self._compiled = self._clock(), -math.inf, math.nan, False
    self._show(values or {})

  def advance(self, step: int, values: Mapping[str, float]) -> None:
    """Says that `step` is done; the time since the last call was spent on the steps in between."""
    now = self._clock()
    seconds = (now - self._last_time) / max(step - self._step, 1)
    if self._compiled:
      known = math.isfinite(self._seconds_per_step)
      self._seconds_per_step = SMOOTHING * self._seconds_per_step + (1 - SMOOTHING) * seconds if known else seconds
    self._step, self._last_time, self._compiled = step, now, True
    self._show(values)

  def note(self, text: str) -> None:
    """Prints a line above the bar."""
    self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

  def _show(self, values: Mapping[str, float]) -> None:
    self._shown |= {name: values[name] for name in self._names if name in values}
    fields = {"rate": self._rate(), "eta": self._eta(), "values": self._values()}
    if self._console.is_terminal:
      self._bar.update(self._task, completed=self._step, total=self._total, stage=self._stage, **fields)
    elif self._step >= self._total or self._clock() - self._last_line >= self._every_s:
      self._last_line = self._clock()
      parts = [f"{self._stage}  step {self._step}/{self._total}", fields["rate"], fields["eta"], fields["values"]]
      self.note("  ".join(part for part in parts if part))

  def _rate(self) -> str:
    if not math.isfinite(self._seconds_per_step):
      return ""
    return f"{self._seconds_per_step:.3g} s/step"

  def _eta(self) -> str:
    left = self._seconds_per_step * (self._total - self._step)
    return f"{duration(left)} left" if math.isfinite(left) and self._step < self._total else ""

  def _values(self) -> str:
    return "  ".join(f"{name} {self._shown[name]:.3g}" for name in self._names if name in self._shown)

  def __enter__(self) -> "Progress":
    if self._console.is_terminal:
      self._bar.start()
    return self

  def __exit__(self, *_: Any) -> None:
    if self._console.is_terminal:
      self._bar.stop()


def duration(seconds: float) -> str:
  """`0:07`, `3:20`, `2:05:00`."""
  minutes, second = divmod(round(seconds), 60)
  hours, minute = divmod(minutes, 60)
  return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _bar(console: Console) -> rich_progress.Progress:
  return rich_progress.Progress(
    rich_progress.TextColumn("{task.fields[stage]}"),
    rich_progress.BarColumn(bar_width=24),
    rich_progress.TextColumn("{task.completed:.0f}/{task.total:.0f}"),
    rich_progress.TextColumn("{task.fields[rate]}"),
    rich_progress.TextColumn("{task.fields[eta]}", style="cyan"),
    rich_progress.TextColumn("{task.fields[values]}", style="bold"),
    console=console,
    refresh_per_second=2,
  )
