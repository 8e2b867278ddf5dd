"""What the runs of a paper show: a line for each arm, with seeds done, steps, and how long still.

On a terminal the lines stay in place; elsewhere (a log file, CI) they are printed now and then.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich import progress as rich_progress
from rich.console import Console

from agentrl.training.progress import duration
from agentrl.training.reproduce import Run

COLD_STARTS = "cold starts"


class ArmsProgress:
  """Progress of many runs; use it in a `with`.

  How long an arm still takes is what its steps took so far, times those that are left, with as many of its runs at a
  time as there may be processes; arms that wait for others take longer.

  Args:
    runs: all of them.
    jobs: processes at a time.
    console: where to; standard error unless given.
    every_s: seconds between plain lines where there is no terminal.
    clock: gives seconds.
  """

  def __init__(
    self,
    runs: Sequence[Run],
    *,
    jobs: int,
    console: Console | None = None,
    every_s: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._arms: dict[str, list[Run]] = {}
    for run in runs:
      self._arms.setdefault(label(run), []).append(run)
    self._jobs, self._every_s, self._clock = jobs, every_s, clock
    self._console = console or Console(file=sys.stderr)
    self._begun = {run: (run.step, clock()) for run in runs}
    self._spent = dict.fromkeys(self._arms, (0, 0.0))  # steps, and seconds of their processes
    self._last_line = -math.inf
    self._bar = rich_progress.Progress(
      rich_progress.TextColumn("{task.description}"),
      rich_progress.BarColumn(bar_width=24),
      rich_progress.TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
      rich_progress.TextColumn("{task.fields[seeds]}"),
      rich_progress.TextColumn("{task.fields[eta]}", style="cyan"),
      console=self._console,
      refresh_per_second=2,
    )
    totals = {name: sum(run.steps for run in found) for name, found in self._arms.items()}
    self._tasks = {name: self._bar.add_task(name, total=totals[name], seeds="", eta="") for name in self._arms}

  def show(self, working: Sequence[Run]) -> None:
    """Says which runs are at work; reads how far all have got."""
    steps = {run: min(run.step, run.steps) for found in self._arms.values() for run in found}
    self._count(working, steps)
    plain = not self._console.is_terminal and self._clock() - self._last_line >= self._every_s
    for name, runs in self._arms.items():
      done, total = sum(steps[run] for run in runs), sum(run.steps for run in runs)
      seeds = f"{sum(steps[run] >= run.steps for run in runs)} of {len(runs)} seeds"
      eta = self._eta(name, total - done, sum(steps[run] < run.steps for run in runs))
      if self._console.is_terminal:
        self._bar.update(self._tasks[name], completed=done, seeds=seeds, eta=eta)
      elif plain:
        self.note("  ".join(part for part in (name, seeds, f"step {done}/{total}", eta) if part))
        self._last_line = self._clock()

  def note(self, text: str) -> None:
    """Prints a line above the bars."""
    self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

  def _count(self, working: Sequence[Run], steps: dict[Run, int]) -> None:
    """Adds to each arm the steps that its processes took since the last look, and the time since then."""
    now = self._clock()
    for run, (step, since) in self._begun.items():
      if run in working and steps[run] >= step:
        taken, seconds = self._spent[label(run)]
        self._spent[label(run)] = (taken + steps[run] - step, seconds + now - since)
      self._begun[run] = (steps[run], now)

  def _eta(self, name: str, left: int, runs: int) -> str:
    taken, seconds = self._spent[name]
    if not left or not taken:
      return ""
    return f"{duration(left * seconds / taken / max(min(self._jobs, runs), 1))} left"

  def __enter__(self) -> ArmsProgress:
    if self._console.is_terminal:
      self._bar.start()
    return self

  def __exit__(self, *_: Any) -> None:
    if self._console.is_terminal:
      self._bar.stop()


def label(run: Run) -> str:
  """The arm of a run, or what cold starts are called together."""
  return COLD_STARTS if run.is_cold_start else run.arm
