"""Scripted solvers of MiniWoB++ pages: they read the text that a policy reads, and act with its tools.

A solver is a generator. It is given a `Page`, yields one tool call after another, and finds the page as it is then in
the same object. They demonstrate (cold starts, few-shot examples) and test; they are no baseline, since each knows its
kind of page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from agentrl.envs.adapters.miniwob import clicking, filling, pointing
from agentrl.envs.adapters.miniwob.reader import Page
from agentrl.envs.base import Environment, NoDemonstration
from agentrl.types import Action, Task, ToolCall, TurnKind

Solver = Callable[[Page], Iterator[ToolCall]]
_MOST_ACTIONS = 40


SOLVERS: Mapping[str, Solver] = clicking.SOLVERS | filling.SOLVERS | pointing.SOLVERS


def demonstrate(environment: Environment, task: Task) -> list[Action]:
  """The actions with which the solver of the task's kind of page plays it.

  Raises:
    NoDemonstration: there is none.
    ValueError: it did not get a positive reward.
  """
  name = task.data["name"]
  if name not in SOLVERS:
    raise NoDemonstration(f"no solver is written for the MiniWoB task {name!r}; the subset 'solved' has those with one")
  page = Page(environment.reset(task, 0)[-1].content)
  actions: list[Action] = []
  for call in SOLVERS[name](page):
    actions.append(Action(TurnKind.TOOL_CALL, "", calls=(call,)))
    observation = environment.step(actions[-1])
    if observation.done or len(actions) == _MOST_ACTIONS:
      break
    page.read(observation.text)
  if not actions or not observation.done or observation.parts["correct"] != 1.0:
    last = f"{actions[-1].calls[0]}: {observation}" if actions else "no action"
    raise ValueError(f"the solver of {name} failed at {page.instruction!r}, task {task.id}; it ended with {last}")
  return actions
