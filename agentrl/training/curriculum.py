"""Which tasks a run asks, step after step.

A curriculum is a pair of pure functions. A function whose keyword-only arguments are the settings makes it, and is
found by name: a key of `CURRICULA`, or the import path of one of yours.

  start(first, seed, look) -> state                  before the first visit of a stage
  ask(state, outcomes, count) -> (state, indices)    the numbers of the tasks of the next `count` visits

`state` is JSON. Checkpoints hold it, so that a run that goes on asks what it would have asked. Everything random
derives from it: the same state and the same outcomes give the same tasks. `outcomes` are what the visits of the last
call gave. `next_visits` numbers the groups, so that no two visits share random numbers, whatever is asked.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agentrl.named import by_name, type_told, with_settings
from agentrl.settings import above, at_least, between, check_ranges, setting
from agentrl.training.left_out import LeftOut
from agentrl.types import Task, Trajectory, Visit, succeeded

State = Mapping[str, Any]  # JSON values
_SECTION = "curriculum.options"  # of a config


@dataclasses.dataclass(frozen=True)
class CurriculumSettings:
  """Which tasks are asked in reinforcement learning."""

  name: str = setting(
    "fresh",
    '"fresh": none twice; "pool": a fixed pool in shuffled epochs; "band": of a pool those that the policy sometimes '
    'solves; "easy_to_hard": of a pool the easiest at first; or the import path of a function of yours',
  )
  options: Mapping[str, Any] = setting({}, 'keyword arguments of that function, where not the defaults: {"size": 64}')


class Outcome(NamedTuple):
  """What a visit gave.

  Attributes:
    group: of the visit.
    index: of the visit.
    rewards: of its trajectories; those whose environment failed have none.
    successes: whether each of the same trajectories solved the task.
    left_out: the task could not be made, or its prompt does not fit: it has no trajectories, and never will.
  """

  group: int
  index: int
  rewards: Sequence[float]
  successes: Sequence[bool]
  left_out: bool


# (index) -> the task of the train split with this number; None where it cannot be made.
Look = Callable[[int], Task | None]


def _no_metrics(state: State) -> Mapping[str, float]:
  del state
  return {}


def _no_pool(state: State) -> Sequence[int]:
  del state
  return ()


class Curriculum(NamedTuple):
  """What chooses tasks; see the head of this file.

  Attributes:
    start: `(first, seed, look) -> state`; `first` is the number of the first task that no earlier stage has shown, and
      `look` shows a task.
    ask: `(state, outcomes, count) -> (state, indices)`, `count` numbers of tasks of the train split.
    metrics: `(state) -> metrics` behind the last call of a step, by names without the prefix "curriculum/".
    pool: `(state) -> indices`, the numbers of the tasks that it chooses from; none where there is no end of them.
  """

  start: Callable[[int, int, Look], State]
  ask: Callable[[State, Sequence[Outcome], int], tuple[State, Sequence[int]]]
  metrics: Callable[[State], Mapping[str, float]] = _no_metrics
  pool: Callable[[State], Sequence[int]] = _no_pool


def make_curriculum(settings: CurriculumSettings) -> Curriculum:
  """The curriculum that a config names.

  Raises:
    ValueError: no such curriculum or setting, and names the nearest; or a value that the setting cannot have.
    ModuleNotFoundError: there is no module at the import path.
  """
  function = by_name(CURRICULA, settings.name, kind="curriculum.name", takes=())
  made = with_settings(function, settings.options, section=_SECTION)()
  if not isinstance(made, Curriculum):
    raise ValueError(f"curriculum.name={settings.name!r} gave {type_told(made)} where a `Curriculum` was due")
  return made


def check_curriculum(settings: CurriculumSettings, *, measured: int) -> None:
  """Refuses a curriculum before anything is trained.

  Args:
    settings: of the config.
    measured: tasks of its pool that evaluations measure.

  Raises:
    ValueError: see `make_curriculum`; or tasks of a pool are to be measured, and there is none.
  """
  if make_curriculum(settings).pool is _no_pool and measured:
    raise ValueError(
      f"eval.pool={measured}: curriculum.name={settings.name!r} has no pool whose tasks could be measured: choose a "
      'curriculum that has one, such as "pool", or eval.pool=0'
    )


# ---- a run and its curriculum ---------------------------------------------------------------------------------------


def begin_visits(curriculum: Curriculum, *, first: int, seed: int, look: Look) -> dict[str, Any]:
  """What a stage keeps of its visits, as JSON, before there are any.

  Args:
    first: the first number that no earlier stage has used, of tasks and of groups.
    look: shows a task of the train split.
  """
  return {"next_group": first, "state": _as_saved(curriculum.start(first, seed, look)), "outcomes": []}


def next_visits(curriculum: Curriculum, record: State, count: int) -> tuple[dict[str, Any], list[Visit]]:
  """The next `count` visits, and the record behind them.

  Raises:
    ValueError: the curriculum gave something else than a state of JSON values and `count` numbers of tasks.
  """
  outcomes = [Outcome(**outcome) for outcome in record["outcomes"]]
  given = curriculum.ask(record["state"], outcomes, count)
  if not isinstance(given, tuple) or len(given) != 2:
    raise ValueError(f"curriculum.name: `ask` of the curriculum gave {type_told(given)}; (state, indices) was due")
  state, indices = given
  numbers = list(indices) if isinstance(indices, Iterable) else []
  if len(numbers) != count or any(not isinstance(index, int | np.integer) or index < 0 for index in numbers):
    raise ValueError(
      f"curriculum.name: the curriculum was asked for {count} numbers of tasks, from 0 up, and gave {indices!r}"
    )
  group = record["next_group"]
  visits = [Visit(group + n, int(index)) for n, index in enumerate(numbers)]
  return {"next_group": group + count, "state": _as_saved(state), "outcomes": []}, visits


def with_outcomes(
  record: State, visits: Sequence[Visit], trajectories: Sequence[Trajectory], left_out: Sequence[LeftOut]
) -> dict[str, Any]:
  """The record with what the visits gave; the curriculum hears of it when it is asked next.

  Args:
    trajectories: of the visits, before any filter; branches that stand for the steps of a search are no samples.
    left_out: tasks of the visits that have no trajectories.
  """
  sampled = [t for t in trajectories if t.visits is None and not t.failed]
  missing = {task.group for task in left_out}
  outcomes = []
  for visit in visits:
    group = [t for t in sampled if t.group_id == visit.group]
    rewards, successes = [float(t.reward) for t in group], [succeeded(t) for t in group]
    outcomes.append(Outcome(*visit, rewards, successes, visit.group in missing)._asdict())
  return {**record, "outcomes": outcomes}


def _as_saved(state: State) -> dict[str, Any]:
  """The state as a checkpoint gives it back: tuples are lists, and all keys are text.

  Raises:
    ValueError: it is no mapping of JSON values.
  """
  if not isinstance(state, Mapping):
    raise ValueError(f"curriculum.name: the curriculum's state is {type_told(state)}; a dict of JSON values was due")
  try:
    return json.loads(json.dumps(dict(state), allow_nan=False))
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(f"curriculum.name: the curriculum's state must be a dict of JSON values: {error}") from error


# ---- the curricula --------------------------------------------------------------------------------------------------


def fresh(*, every: int = 1, place: int = 0) -> Curriculum:
  """One task after another, none twice: those whose number leaves `place` when it is divided by `every`.

  Entries of a mixture take numbers in turns, so that of two with the same weight every second task is of one of them.

  Args:
    every: 1 asks all tasks.
    place: from 0 to every - 1.
  """
  ranges = {"every": at_least(1), "place": between(0, every - 1)}
  check_ranges({"every": every, "place": place}, ranges, section=_SECTION)

  def start(first: int, seed: int, look: Look) -> State:
    del seed, look
    return {"next": first + (place - first) % every}

  def ask(state: State, outcomes: Sequence[Outcome], count: int) -> tuple[State, Sequence[int]]:
    del outcomes
    behind = state["next"] + every * count
    return {"next": behind}, range(state["next"], behind, every)

  return Curriculum(start, ask)


def pool(*, size: int = 64) -> Curriculum:
  """A fixed pool of tasks, in epochs that are shuffled anew: visit v is place v mod size of epoch floor(v / size).

  Metrics: `again`, the share of all visits so far whose task had been asked before; `success`, the mean success over
  those tasks of the pool that gave samples, at the last visit of each.

  Args:
    size: tasks of the pool: first, ..., first + size - 1.
  """
  check_ranges({"size": size}, {"size": at_least(1)}, section=_SECTION)

  def ask(state: State, outcomes: Sequence[Outcome], count: int) -> tuple[State, Sequence[int]]:
    visits = range(state["visits"], state["visits"] + count)
    epochs = {epoch: _shuffled(state, size, f"epoch {epoch}") for epoch in {visit // size for visit in visits}}
    indices = [epochs[visit // size][visit % size] for visit in visits]
    return _visited(_told(state, outcomes, keep=0.0), indices), indices

  return Curriculum(_no_visits, ask, _pool_metrics, functools.partial(_range_of, size=size))


def band(
  *, size: int = 256, low: float = 0.1, high: float = 0.9, explore: float = 0.2, keep: float = 0.5
) -> Curriculum:
  """A pool of tasks, of which those are preferred that the policy sometimes solves and sometimes does not.

  With c successes in n samples, the running success rate of a task is p = c / n; every visit first multiplies its old
  c and n by `keep`. Its distance to the band [low, high] is d = max(low - p, p - high, 0). A visit asks the task of
  the smallest distance, ties in random order; tasks that were never asked come before all others, tasks that were
  asked and gave no sample behind all others. With the probability `explore` it asks any task of the pool instead,
  since a rate is as old as the last visit. No task comes twice in one call before all tasks of the pool did.

  A group in which all samples succeed, or none, has no advantages. Bands of 0.1 to 0.9 are usual, as a filter of what
  was sampled: Xue et al., 2025 (SimpleTIR, https://arxiv.org/abs/2509.02479). Unlike there, tasks outside the band are
  not sampled in the first place.

  Metrics: those of `pool`, with the running rates; and `in_band`, the share of the rates that lie in the band.

  Args:
    size: tasks of the pool: first, ..., first + size - 1.
    low: success rate at which the band begins.
    high: success rate at which it ends.
    explore: probability that a visit asks any task.
    keep: how much of the old counts is kept at a visit; 1: rates are over all samples, 0: over the last visit's.
  """
  shares = {"low": between(0, 1), "high": between(low, 1), "explore": between(0, 1), "keep": between(0, 1)}
  settings = {"size": size, "low": low, "high": high, "explore": explore, "keep": keep}
  check_ranges(settings, {"size": at_least(1), **shares}, section=_SECTION)

  def distance(tried: Mapping[str, Sequence[float]], index: int) -> float:
    if str(index) not in tried:
      return -1.0
    _, samples, successes = tried[str(index)]
    return max(low - successes / samples, successes / samples - high, 0.0) if samples else math.inf

  def ask(state: State, outcomes: Sequence[Outcome], count: int) -> tuple[State, Sequence[int]]:
    state = _told(state, outcomes, keep=keep)
    draw = _draw(state, state["visits"])
    indices: list[int] = []
    for n in range(count):
      if n % size == 0:
        left = _shuffled(state, size, f"ties {state['visits'] + n}")
        left.sort(key=lambda index: distance(state["tried"], index))
      place = draw.randrange(len(left)) if draw.random() < explore else 0
      indices.append(left.pop(place))
    return _visited(state, indices), indices

  def metrics(state: State) -> Mapping[str, float]:
    inside = [low <= rate <= high for rate in _rates(state)]
    return {**_pool_metrics(state), **({"in_band": sum(inside) / len(inside)} if inside else {})}

  return Curriculum(_no_visits, ask, metrics, functools.partial(_range_of, size=size))


def easy_to_hard(
  *, size: int = 256, strata: Sequence[str] = (), begin: float = 0.1, visits: int = 1000, power: float = 2.0
) -> Curriculum:
  """A pool of tasks of which only the easiest are asked at first, then more and more, and at last all.

  Visit v asks any task of the easiest share c(v) of the pool, with p for `power`,

    c(v) = min(1, (begin^p + (1 - begin^p) v / visits)^(1 / p)):

  competence-based learning, Platanios et al., 2019 (https://arxiv.org/abs/1903.09848), whose linear schedule is p = 1
  and whose square root is p = 2. Unlike the paper, which orders sentences by length or by rarity of their words, tasks
  are ordered by the place of their stratum in `strata`, within it by their difficulty, ties at random; and no task
  comes twice in one call before all that may come did. Tasks that cannot be made stand at the end.

  Metrics: those of `pool`; and `open`, the share c of the last visit.

  Args:
    size: tasks of the pool: first, ..., first + size - 1.
    strata: names of the strata of the tasks, from easy to hard; empty: the difficulty alone orders them.
    begin: share of the pool that is open at first, above 0.
    visits: after which all of it is.
    power: how much faster the pool opens at first.
  """
  numbers = {"size": size, "begin": begin, "visits": visits, "power": power}
  ranges = {"size": at_least(1), "begin": between(0, 1), "visits": at_least(1), "power": above(0)}
  check_ranges(numbers, ranges, section=_SECTION)

  def start(first: int, seed: int, look: Look) -> State:
    state = _no_visits(first, seed, look)
    return {**state, "order": _by_hardness(_shuffled(state, size, "ties"), look, strata)}

  def share(visit: int) -> float:
    return min(1.0, (begin**power + (1 - begin**power) * visit / visits) ** (1 / power))

  def ask(state: State, outcomes: Sequence[Outcome], count: int) -> tuple[State, Sequence[int]]:
    state = _told(state, outcomes, keep=0.0)
    draw, indices = _draw(state, state["visits"]), []
    asked: set[int] = set()
    for visit in range(state["visits"], state["visits"] + count):
      may_come = state["order"][: max(1, math.ceil(share(visit) * size))]
      if not (left := [index for index in may_come if index not in asked]):
        asked, left = set(), may_come
      indices.append(draw.choice(left))
      asked.add(indices[-1])
    return _visited(state, indices), indices

  def metrics(state: State) -> Mapping[str, float]:
    return {**_pool_metrics(state), **({"open": share(state["visits"] - 1)} if state["visits"] else {})}

  return Curriculum(start, ask, metrics, functools.partial(_range_of, size=size))


CURRICULA: Mapping[str, Callable[..., Curriculum]] = {
  "fresh": fresh,
  "pool": pool,
  "band": band,
  "easy_to_hard": easy_to_hard,
}


# ---- what a pool knows of its tasks: state["tried"][index] = [visits, samples, successes], the last two with decay ---


def _no_visits(first: int, seed: int, look: Look) -> State:
  del look
  return {"first": first, "seed": seed, "visits": 0, "tried": {}}


def _range_of(state: State, *, size: int) -> Sequence[int]:
  """The numbers of the pool's tasks."""
  return range(state["first"], state["first"] + size)


def _by_hardness(indices: Sequence[int], look: Look, strata: Sequence[str]) -> list[int]:
  """The tasks from easy to hard; equals stay in their order.

  Raises:
    ValueError: a task's stratum is not among `strata`; or all tasks are equally hard, so that nothing orders them.
  """
  tasks = {index: look(index) for index in indices}
  found = sorted({task.stratum for task in tasks.values() if task is not None})
  if strata and (others := [name for name in found if name not in strata]):
    raise ValueError(
      f"{_SECTION}.strata={tuple(strata)} lacks {', '.join(map(repr, others))}: tasks of the pool have the strata "
      f"{', '.join(map(repr, found))}; name all of them, from easy to hard"
    )
  places = {name: place for place, name in enumerate(strata)} or dict.fromkeys(found, 0)
  hard = {n: (math.inf, 0) if task is None else (places[task.stratum], task.difficulty) for n, task in tasks.items()}
  if len(indices) > 1 and len(set(hard.values())) == 1:
    raise ValueError(
      f"{_SECTION}: all tasks of the pool are equally hard, so easy_to_hard has nothing to order them by. Their strata "
      f"are {', '.join(map(repr, found)) or 'none'}: name them in {_SECTION}.strata, from easy to hard, or mix entries "
      "of several difficulties in task.mixture"
    )
  return sorted(indices, key=hard.__getitem__)


def _draw(state: State, of: int | str) -> random.Random:
  """Random numbers of a run, for one use."""
  return random.Random(f"curriculum {state['seed']} {of}")


def _shuffled(state: State, size: int, of: int | str) -> list[int]:
  """The numbers of the pool's tasks, in a random order."""
  order = list(range(state["first"], state["first"] + size))
  _draw(state, f"order {of}").shuffle(order)
  return order


def _told(state: State, outcomes: Sequence[Outcome], *, keep: float) -> dict[str, Any]:
  """The state with outcomes counted; the old counts of a task are first multiplied by `keep`."""
  tried = dict(state["tried"])
  for outcome in outcomes:
    if outcome.successes:
      visits, samples, successes = tried[str(outcome.index)]
      samples, successes = keep * samples + len(outcome.successes), keep * successes + sum(outcome.successes)
      tried[str(outcome.index)] = [visits, samples, successes]
  return {**state, "tried": tried}


def _visited(state: State, indices: Sequence[int]) -> dict[str, Any]:
  """The state with these visits counted."""
  tried = dict(state["tried"])
  for index in indices:
    visits, *counts = tried.get(str(index), (0, 0, 0))
    tried[str(index)] = [visits + 1, *counts]
  return {**state, "tried": tried, "visits": state["visits"] + len(indices)}


def _rates(state: State) -> list[float]:
  """Success rates of the tasks that gave samples."""
  return [successes / samples for _, samples, successes in state["tried"].values() if samples]


def _pool_metrics(state: State) -> Mapping[str, float]:
  rates = _rates(state)
  again = {"again": 1 - len(state["tried"]) / state["visits"]} if state["visits"] else {}
  return {**again, **({"success": sum(rates) / len(rates)} if rates else {})}
