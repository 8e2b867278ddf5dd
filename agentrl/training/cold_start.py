"""Authored traces: what a policy is shown before it learns from its own samples."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, NamedTuple

from agentrl.envs.checks import failure_of
from agentrl.models.chat import ChatFormat
from agentrl.rollout.episode import Episode, Request, play
from agentrl.training.left_out import LeftOut
from agentrl.types import EnvironmentFailed, FailureKind, StopReason, Task, Trajectory, TurnKind

_NO_LIMIT = 2**31


class Authored(NamedTuple):
  """Trajectories without reward, their tasks by index, and which tasks were left out, and why."""

  traces: list[Trajectory]
  tasks: dict[int, Task]
  left_out: list[LeftOut]


def authored_traces(
  tasks: Any,
  chat: ChatFormat,
  indices: Iterable[int],
  *,
  direct_share: float,
  seed: int,
  max_tokens: int = _NO_LIMIT,
  max_actions: int = _NO_LIMIT,
) -> Authored:
  """Plays the family's oracle on tasks of the train split.

  Args:
    tasks: has `task(index, split)`, `environment()`, `oracle(task)`, `tools` and `more_tools`.
    direct_share: share of the traces that give the oracle's answer at once, without its tool calls. A policy that
      has seen both can do either, and has to find out which one pays.
    max_tokens, max_actions: of a trace. A task whose trace is longer is left out, and so is one whose demonstration
      cannot be made or played.

  Raises:
    ValueError: a share where there are no tools to leave out.
  """
  if direct_share and not (tasks.tools or tasks.more_tools):
    raise ValueError(f"cold_start.direct_share={direct_share} leaves tool calls out, and there is no tool; set it to 0")
  traces, chosen, left_out = [], {}, []
  for index in indices:
    direct = random.Random(f"direct {seed} {index}").random() < direct_share
    name = f"number {index}"
    try:
      task = tasks.task(index, "train")
      name = task.id
      trace = _trace(tasks, chat, index, task, direct, max_tokens, max_actions)
    except (Exception, SystemExit) as error:  # generator, oracle and environment may be anybody's
      told = f"the demonstration of task {name} could not be played: {failure_of(error)}"
      left_out.append(LeftOut(index, told))
    else:
      chosen[index] = task
      traces.append(trace)
  return Authored(traces, chosen, left_out)


def _trace(tasks, chat, index: int, task: Task, direct: bool, max_tokens: int, max_actions: int) -> Trajectory:
  actions = tasks.oracle(task)
  if direct:
    actions = [action for action in actions if action.kind is TurnKind.ANSWER]
  request = Request(task, index, index, index, 1.0, max_tokens=max_tokens + 1, max_turns=len(actions) + 1)
  trace = play(Episode(request, tasks.environment, chat, policy_version=0), actions)
  tokens, written = len(trace.tokens), int(trace.action_mask.sum())
  if trace.stop is StopReason.LENGTH_LIMIT or tokens > max_tokens or written > max_actions:
    raise EnvironmentFailed(
      f"its {tokens} tokens, {written} of them actions, and what follows them do not fit into a row of "
      f"pack.row_tokens={max_tokens} and pack.row_actions={max_actions}: raise them",
      FailureKind.PROMPT,
    )
  return trace
