"""Authored traces: what a policy is shown before it learns from its own samples."""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
import math
import random
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from agentrl.envs import TaskSource
from agentrl.envs.checks import failure_of
from agentrl.envs.habits import NEEDED
from agentrl.models.chat import ChatFormat
from agentrl.named import naming
from agentrl.rewards.combine import ENOUGH_ANSWERS, Reward, check_parts
from agentrl.rollout.episode import Episode, Request, play
from agentrl.rollout.workers import WorkerPool
from agentrl.training.left_out import LeftOut
from agentrl.types import EnvironmentFailed, FailureKind, StopReason, Task, Trajectory

_NO_LIMIT = 2**31
_BLOCK = 100  # tasks in a row that the habits of a mix are shared out among


class Authored(NamedTuple):
  """Trajectories without reward, their tasks by index, and which tasks were left out, and why."""

  traces: list[Trajectory]
  tasks: dict[int, Task]
  left_out: list[LeftOut]


class Habits:
  """Which habit the demonstration of which task shows.

  Each block of 100 tasks in a row holds the habits by their shares: exactly where these are hundredths, to within one
  task where not. Which task of the block shows which is drawn by the seed.

  Args:
    mix: share of each habit, by name; together 1. Empty: all show what the task needs.
    seed: of the draw.

  Raises:
    ValueError: a share that is negative or no number, or shares that do not add up to 1.
  """

  def __init__(self, mix: Mapping[str, float], seed: int):
    shares = dict(mix) or {NEEDED: 1.0}
    total = math.fsum(shares.values())
    if not (min(shares.values()) >= 0 and math.isclose(total, 1.0, abs_tol=1e-6)):
      raise ValueError(f"cold_start.mix={shares}: shares are at least 0, and together 1; here they are {total:g}")
    self._names = sorted(name for name, share in shares.items() if share > 0)
    self._ends = list(itertools.accumulate(shares[name] for name in self._names))
    self._seed = seed
    self._block = functools.lru_cache(maxsize=4)(self._drawn)

  def at(self, index: int) -> str:
    """The habit of task number `index`."""
    block, place = divmod(index, _BLOCK)
    return self._block(block)[place]

  def _drawn(self, block: int) -> list[str]:
    """Of points that are spread evenly over [0, 1), each falls into the share of a habit; in random order."""
    rng = random.Random(f"habits of seed {self._seed}, block {block}")
    offset = rng.random()
    places = [bisect.bisect(self._ends, (n + offset) / _BLOCK) for n in range(_BLOCK)]
    rng.shuffle(places)
    return [self._names[min(place, len(self._names) - 1)] for place in places]


def authored_traces(
  tasks: Any,
  chat: ChatFormat,
  indices: Iterable[int],
  *,
  mix: Mapping[str, float],
  seed: int,
  max_tokens: int = _NO_LIMIT,
  max_actions: int = _NO_LIMIT,
) -> Authored:
  """Plays the family's oracle on tasks of the train split.

  Args:
    tasks: has `task(index, split)`, `environment()`, `oracle(task, habit)` and `check_habit(name)`.
    mix: share of the traces that show each habit of the oracle, by its name, see `Habits`. A policy that has seen
      several can do any of them, and has to find out which one pays.
    seed: says which tasks show which habit.
    max_tokens, max_actions: of a trace. A task whose trace is longer is left out, and so is one whose demonstration
      cannot be made or played.

  Raises:
    ValueError: shares that are none, or a habit that the oracle does not have.
  """
  habits = Habits(mix, seed)
  with naming("cold_start.mix"):
    for habit in mix:
      tasks.check_habit(habit)
  shown = {index: habits.at(index) for index in indices}
  return shown_traces(tasks, chat, shown, max_tokens=max_tokens, max_actions=max_actions)


def shown_traces(
  tasks: Any,
  chat: ChatFormat,
  habits: Mapping[int, str],
  *,
  max_tokens: int = _NO_LIMIT,
  max_actions: int = _NO_LIMIT,
) -> Authored:
  """Plays what the family's oracle shows of tasks of the train split, each with a habit of its own.

  Args:
    tasks: see `authored_traces`.
    habits: of the oracle, by the number of the task.
    max_tokens, max_actions: see `authored_traces`.
  """
  traces, chosen, left_out = [], {}, []
  for index, habit in habits.items():
    name = f"number {index}"
    try:
      task = tasks.task(index, "train")
      name = task.id
      trace = _trace(tasks, chat, index, task, habit, max_tokens, max_actions)
    except (Exception, SystemExit) as error:  # generator, oracle and environment may be anybody's
      told = f"the demonstration of task {name} could not be played: {failure_of(error)}"
      left_out.append(LeftOut(index, told))
    else:
      chosen[index] = task
      traces.append(trace)
  return Authored(traces, chosen, left_out)


def check_demonstrated(reward: Reward, tasks: Any, chat: ChatFormat, *, seconds: float) -> None:
  """Refuses a misspelt part of the reward before anything is trained: demonstrations have the parts that there are.

  They are played until they have all parts, `ENOUGH_ANSWERS` of them at most. Where they cannot be played, or not in
  time, nothing is known, and the first answers of the policy will show it.

  Args:
    tasks: see `authored_traces`; of one family, since each entry of a mixture may give parts of its own.
    seconds: that a demonstration may take.

  Raises:
    ValueError: see `combine.check_parts`.
  """
  from_environment = reward.weights.keys() - reward.functions.keys()
  traces: list[Trajectory] = []
  with contextlib.closing(WorkerPool(1)) as pool:
    for index in range(ENOUGH_ANSWERS):
      (call,) = pool.call_all([lambda n=index: authored_traces(tasks, chat, [n], mix={}, seed=0)], seconds)
      if call.exception() is not None:
        return
      traces += call.result().traces
      if from_environment <= {part for t in traces for part in t.reward_parts or {}}:
        return
  check_parts(reward, traces)


def _trace(
  tasks: TaskSource, chat: ChatFormat, index: int, task: Task, habit: str, max_tokens: int, max_actions: int
) -> Trajectory:
  actions = tasks.oracle(task, habit)

  def played(most: int) -> Trajectory:
    request = Request(task, index, index, index, 1.0, max_tokens=most, max_turns=len(actions) + 1, index=index)
    return play(Episode(request, tasks.environment, chat, policy_version=0), actions)

  trace = played(max_tokens + 1)
  if trace.stop is StopReason.LENGTH_LIMIT:
    trace = played(_NO_LIMIT)  # to say how long it is
  tokens, written = len(trace.tokens), int(trace.action_mask.sum())
  needed = {"row_tokens": tokens} if tokens > max_tokens else {}
  needed |= {"row_actions": written} if written > max_actions else {}
  if needed:
    raised = " and ".join(f"pack.{key} to {value}" for key, value in needed.items())
    raise EnvironmentFailed(
      f"it has {tokens} tokens, {written} of them actions, and a row holds pack.row_tokens={max_tokens} and "
      f"pack.row_actions={max_actions}: raise {raised}",
      FailureKind.PROMPT,
    )
  return trace
