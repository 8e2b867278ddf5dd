"""Authored traces: what a policy is shown before it learns from its own samples."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from agentrl.models.chat import ChatFormat
from agentrl.rollout.episode import Episode, Request, play
from agentrl.types import EnvironmentFailed, Task, Trajectory, TurnKind


def authored_traces(
  tasks: Any, chat: ChatFormat, indices: Iterable[int], *, direct_share: float, seed: int
) -> tuple[list[Trajectory], dict[int, Task]]:
  """Plays the family's oracle on tasks of the train split.

  Args:
    tasks: has `task(index, split)`, `environment()`, `oracle(task)` and `tools`.
    direct_share: share of the traces that give the oracle's answer at once, without its tool calls. A policy that
      has seen both can do either, and has to find out which one pays.

  Returns:
    Trajectories without reward, and the tasks by index.

  Raises:
    EnvironmentFailed: a demonstration could not be made or played; says of which task.
    ValueError: a share where there are no tools to leave out.
  """
  if direct_share and not tasks.tools:
    raise ValueError(f"cold_start.direct_share={direct_share} leaves tool calls out, and there is no tool; set it to 0")
  chosen = {index: tasks.task(index, "train") for index in indices}
  traces = []
  for index, task in chosen.items():
    direct = random.Random(f"direct {seed} {index}").random() < direct_share
    try:
      traces.append(_trace(tasks, chat, index, task, direct))
    except EnvironmentFailed as error:
      raise EnvironmentFailed(f"the demonstration of task {task.id} could not be played: {error}") from error
  return traces, chosen


def _trace(tasks, chat, index: int, task: Task, direct: bool) -> Trajectory:
  actions = tasks.oracle(task)
  if direct:
    actions = [action for action in actions if action.kind is TurnKind.ANSWER]
  request = Request(task, index, index, index, 1.0, max_tokens=2**31, max_turns=len(actions) + 1)
  return play(Episode(request, tasks.environment, chat, policy_version=0), actions, chat)
