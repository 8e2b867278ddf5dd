"""MiniWoB++ as a world: small web pages with an instruction each, operated in a real browser.

Shi et al., 2017 (http://proceedings.mlr.press/v70/shi17a.html) and Liu et al., 2018
(https://arxiv.org/abs/1802.08802); the pages come from the package `miniwob`, and Chromium is driven by Selenium.

The policy reads the instruction and the page as text (`observation`) and acts with the tools of
`tools.Page`. A page says by itself when the episode is over and what it was worth: the part "raw" is that
reward, from -1 to 1, and "correct" is 1 where it is positive. An answer gives up: the part "correct" is 0.

Unlike MiniWoB's own environment a page does not run in real time. Its clock stands still while the policy thinks and
moves by one second after each action, and the limit of an episode (10 s in most pages), together with the reward that
shrinks towards it, is off unless the option `time_limit` asks for it. So an episode is a function of its task and its
actions. Each page is loaded anew for each episode: nothing that an earlier one left behind can be seen.

Train and held-out pages have different seeds. Where a page has kinds of instructions of its own for "test" (five do,
and the airlines), held-out tasks have those. With `held_out_tasks` an eighth of the kinds of pages is kept for the
held-out split besides.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from agentrl.envs.adapters.miniwob import solvers
from agentrl.envs.adapters.miniwob.browser import COMMAND_SECONDS
from agentrl.envs.adapters.miniwob.observation import page_text
from agentrl.envs.adapters.miniwob.tasks import page_of, select
from agentrl.envs.adapters.miniwob.tools import Page
from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.schema import shortened
from agentrl.envs.tasks.shared import splits
from agentrl.envs.tool import ToolLimits, ToolRunner, ToolSpec, tools_of
from agentrl.types import Action, Message, Observation, Task, TurnKind

_SYSTEM = (
  "You operate a web page with tools. Do what the instruction says. Elements are listed in reading order as "
  '[number] role "name", state and position; tools take the number.'
)


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  tasks: str | Sequence[str] = "",
  held_out_tasks: bool = False,
  time_limit: bool = False,
  screenshots: str = "",
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one; kinds of pages take turns.
    split: "train" or "held_out".
    difficulty: 1 to 3, for the kinds that `tasks` calls "easy", "medium" and "hard".
    seed: another sequence of pages.
    tasks: kinds of pages, in place of those of the difficulty: one name such as "click-test", a list of names, or the
      name of a subset, "all", "easy", "medium", "hard" or "solved" (those with a scripted solver).
    held_out_tasks: an eighth of the kinds, by a hash of their names, is asked for in the held-out split alone.
    time_limit: an episode ends when MiniWoB's own time is up, an action counting as one second, and the reward
      shrinks towards that.
    screenshots: folder that gets a PNG of the page at the start and after each step; "" for none.

  Raises:
    ValueError: an unknown split, difficulty or name, or no kind of page on this side of the split.
  """
  splits.generator(split, ())
  names = select(tasks, difficulty)
  if held_out_tasks:
    names = tuple(name for name in names if splits.belongs(f"miniwob {name}", split))
  if not names:
    raise ValueError(f"held_out_tasks leaves no {split} task of {tasks or difficulty!r}; name more")
  name, number = names[index % len(names)], index // len(names)
  return Task(
    id=f"{splits.task_id('miniwob', split, difficulty, index, seed)}-{name}",
    family="miniwob",
    question=f"Do what the web page {name} asks for.",
    difficulty=difficulty,
    data={
      "name": name,
      "page": page_of(name),
      "page_seed": f"{name} {split} {seed} {number}",
      "mode": "train" if split == splits.TRAIN else "test",
      "time_limit": time_limit,
      "screenshots": screenshots,
    },
  )


def environment(setting: Setting) -> MiniWob:
  """A fresh one, for one trajectory; the browser is shared by those of a process."""
  return MiniWob(setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """Actions of a scripted solver that reads what a policy reads.

  It plays the task in a page of its own, which takes as long as the episode: about a tenth of a second for the page,
  and a twentieth for each action.

  Raises:
    NoDemonstration: there is no solver for this kind of page.
    ValueError: a tool, or the solver failed.
  """
  if tool:
    raise ValueError(f"miniwob brings its own tools and takes none, not even {tool!r}")
  played = MiniWob(Setting(limits=ToolLimits(max_output_chars=50_000)))  # a solver never calls look
  try:
    return solvers.demonstrate(played, task)
  finally:
    played.close()


class MiniWob:
  """One episode of a page.

  Args:
    setting: system message (there is one of its own), examples and limits. `limits.call_seconds` does not apply: a
      page answers in milliseconds, and one that does not is the environment's failure, not the tool's.
  """

  def __init__(self, setting: Setting):
    self._setting = setting if setting.system else dataclasses.replace(setting, system=_SYSTEM)
    self._page = Page()
    limits = dataclasses.replace(setting.limits, call_seconds=4 * COMMAND_SECONDS)
    self._runner = ToolRunner(tools_of(self._page), limits)
    self._task: Task | None = None
    self._seed = self._steps = 0

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """The same in every page."""
    return self._runner.specs

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Opens the page.

    Args:
      task: all that is random in the page derives from it, so that the samples of a group see the same.
      seed: of the episode; names its screenshots.

    Raises:
      EnvironmentFailed: the browser did not start, or broke.
      FileNotFoundError: it is not installed.
    """
    self._page.reset(task, seed)
    self._task, self._seed, self._steps = task, seed, 0
    self._keep_screenshot()
    width, height = self._page.size
    instruction = f"Instruction: {self._page.state['instruction']}\nPage of {width} x {height} pixels:\n"
    return [*self._setting.opening, Message("user", instruction + self._shown())]

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      EnvironmentFailed: the browser broke; the next `reset` starts a fresh one.
      NoEpisode: none is open.
    """
    if self._task is None:
      raise NoEpisode()
    if action.kind is TurnKind.ANSWER:
      return self._finish(Observation(""))
    if action.kind is not TurnKind.TOOL_CALL:
      return self._going_on(self._runner.refuse(action))
    told = self._runner.run(action.calls)
    self._steps += 1
    self._keep_screenshot()
    return self._finish(told) if self._page.done else self._going_on(told)

  def close(self) -> None:
    """Leaves the window to other episodes; the browser stays, and ends with the process."""
    self._task = None
    self._page.close()

  def _going_on(self, told: Observation) -> Observation:
    parts = {"correct": 0.0, "raw": 0.0}
    return dataclasses.replace(told, text=f"{told.text}\n{self._shown()}", parts=parts)

  def _finish(self, told: Observation) -> Observation:
    """What the episode was worth: of a page that was left, or an answer, nothing."""
    state, limited = self._page.state, self._task.data["time_limit"]
    worth = float(state["decayed" if limited else "raw"]) if self._page.done and state else 0.0
    self.close()
    parts = {"correct": float(worth > 0), "raw": worth}
    return dataclasses.replace(told, text="", done=True, parts=parts, reward=worth)

  def _shown(self) -> str:
    state = self._page.state
    marked = f'\nMarked text: "{shortened(state["marked"])}"' if state["marked"] else ""
    return page_text(state["rows"], self._setting.limits.max_output_chars, self._page.skip) + marked

  def _keep_screenshot(self) -> None:
    if folder := self._task.data["screenshots"]:
      name = re.sub(r"[^\w.-]", "_", f"{self._task.id}-{self._seed}-{self._steps:03}.png")
      Path(folder).mkdir(parents=True, exist_ok=True)
      if not self._page.done:  # of an episode that is over there is nothing but MiniWoB's start screen
        (Path(folder) / name).write_bytes(self._page.screenshot)
