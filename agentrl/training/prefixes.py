"""Where the policy goes on from: beginnings of stored trajectories, authored or a run's own.

A `Begin` turns the visits that a curriculum asks for into visits of tasks with a start. Of a stored trajectory of T
turns the start has k of them, 0 <= k < T, drawn for each group: Ye et al., 2025 (FTRL,
https://arxiv.org/abs/2508.08791) train single turns from every prefix of stored trajectories. Unlike the paper, which
lists all prefixes, one is drawn at each visit.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import pathlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from agentrl.envs import TaskSource
from agentrl.models.chat import ChatFormat
from agentrl.rollout.episode import Start
from agentrl.training.cold_start import authored_traces
from agentrl.training.collect import SeededStart
from agentrl.training.left_out import LeftOut
from agentrl.training.trajectory_rows import turn_of
from agentrl.types import StopReason, Turn, Visit


class Begun(NamedTuple):
  """Visits with what the policy goes on from.

  Attributes:
    visits: of tasks of the train split.
    starts: by group.
    left_out: visits without a stored trajectory, which are not sampled.
  """

  visits: Sequence[Visit]
  starts: Mapping[int, SeededStart]
  left_out: Sequence[LeftOut]


Begin = Callable[[Sequence[Visit]], Begun]


def from_the_task(visits: Sequence[Visit]) -> Begun:
  """Everything begins with the task."""
  return Begun(visits, {}, ())


def after_authored(tasks: TaskSource, chat: ChatFormat, *, mix: Mapping[str, float], seed: int) -> Begin:
  """Behind turns of the demonstration of the visited task.

  Args:
    tasks: what is asked.
    chat: how demonstrations are written.
    mix: share of the demonstrations that show each habit, see `cold_start.Habits`.
    seed: of the run.
  """

  def begin(visits: Sequence[Visit]) -> Begun:
    indices = sorted({visit.index for visit in visits})
    authored = authored_traces(tasks, chat, indices, mix=mix, seed=seed)
    traces = {trace.index: trace for trace in authored.traces}
    reasons = {task.group: task.reason for task in authored.left_out}  # a demonstration's group is its task's number
    starts = {}
    for visit in visits:
      if (trace := traces.get(visit.index)) is not None:
        start = _drawn(trace.tokens.tolist(), trace.turns, f"the demonstration of task {trace.task_id}", visit, seed)
        starts[visit.group] = SeededStart(start, trace.seed)
    asked = [visit for visit in visits if visit.group in starts]
    return Begun(asked, starts, [LeftOut(v.group, reasons[v.index]) for v in visits if v.group not in starts])

  return begin


class Stored(NamedTuple):
  """Trajectories of a run.

  Attributes:
    rows: of its files, in their order.
    digest: of these rows.
  """

  rows: Sequence[Mapping[str, Any]]
  digest: str


def after_stored(stored: Stored, tasks: TaskSource, *, seed: int) -> Begin:
  """Behind turns of the trajectories of a run: number n of the curriculum is trajectory n, counted round and round.

  Args:
    stored: the trajectories.
    tasks: what is asked.
    seed: of the run.
  """

  def begin(visits: Sequence[Visit]) -> Begun:
    asked, starts = [], {}
    for visit in visits:
      row = stored.rows[visit.index % len(stored.rows)]
      name, turns = f"trajectory {row['uid']} (task {row['task_id']})", [turn_of(turn) for turn in row["turns"]]
      if (found := tasks.task(row["index"], "train").id) != row["task_id"]:
        raise ValueError(
          f"train.source_options.run: {name} is of task number {row['index']}, which here is {found!r}: give a run of "
          "the same `task`"
        )
      starts[visit.group] = SeededStart(_drawn(row["tokens"], turns, name, visit, seed), row["seed"])
      asked.append(Visit(visit.group, row["index"]))
    return Begun(asked, starts, ())

  return begin


def read_stored(run: pathlib.Path, *, least_reward: float) -> Stored:
  """The trajectories of the training of a run that may be gone on from.

  Those whose environment failed are left out, and branches, and those that themselves began behind others' turns.

  Args:
    run: its folder; `train.trajectories_every` said how many steps are there.
    least_reward: of a trajectory.

  Raises:
    FileNotFoundError: there are none.
    ValueError: a row does not say what the environment was reset with: an older version wrote it.
  """
  rows = []
  for file in sorted((run / "trajectories").glob("train_*.jsonl.gz")):
    with gzip.open(file, "rt", encoding="utf-8") as lines:
      rows += [json.loads(line) for line in lines]
  if any(not {"seed", "index", "prefix"} <= row.keys() for row in rows):
    raise ValueError(
      f"train.source_options.run: trajectories of {run} do not say what their environments were reset with; an older "
      "version wrote them: run it again"
    )
  kept = [row for row in rows if _can_be_gone_on_from(row) and row["reward"] >= least_reward]
  if not kept:
    raise FileNotFoundError(
      f"train.source_options.run: of {len(rows)} trajectories in {run / 'trajectories'} none has a reward of at least "
      f"{least_reward:g} and a turn: give the folder of a run with train.trajectories_every, or a lower least_reward"
    )
  return Stored(kept, hashlib.sha256(json.dumps(kept).encode()).hexdigest())


def _can_be_gone_on_from(row: Mapping[str, Any]) -> bool:
  whole = row["parent"] is None and row["visits"] is None and not row["prefix"]
  return whole and row["stop"] != StopReason.ENVIRONMENT_FAILED.value and bool(row["turns"])


def _drawn(tokens: Sequence[int], turns: Sequence[Turn], name: str, visit: Visit, seed: int) -> Start:
  """The beginning of a trajectory behind some of its turns, all but the last at most."""
  count = random.Random(f"prefix of seed {seed}, group {visit.group}").randrange(len(turns))
  return Start(tuple(tokens[: turns[count].start]), tuple(turns[:count]), name)
