"""Ledger apps: errands in a wallet, notes and contacts, judged by the state in which they leave them.

"pay ana 12; move rent to fuel" takes `<find:ana>`, `<pay:koru|12>`, `<read:rent>`, `<write:fuel|45>`,
`<drop:rent>`, and the answer "done", or what was to be told. Ten calls are offered; what a contact's account is, and
what a note says, stands in the apps alone. A call that cannot be done says so in a word, `error: nobody`.

An episode that answers is judged by assertions, of which the part "state" is the share that pass, and "correct" says
whether all do: one for each entry of the state that was to be changed, that nothing else changed, and that the answer
is right. `task.data` has the calls that are wanted ("gold"), and what each of them gives ("outputs").

Difficulty is the number of errands, 1 to 3; a request takes 2 to 6 calls. By construction a request is in one split,
and some combinations of errands are never trained on: strata of the held-out split are

  normal      combinations that are trained on, with other values
  challenge   combinations that are not; at difficulty 1 there are none
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.tasks.data.errands import ACCOUNTS, CALLS, ERRANDS, Call, Errand, World
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tool import ToolRunner, ToolSpec, tools_of
from agentrl.envs.tools.apps import APPS, Apps
from agentrl.types import Action, Message, Observation, Task, ToolCall, TurnKind

DONE = "done"  # the answer where nothing was to be told
_CALLS = range(2, 7)  # that a request may take
_ELSEWHERE = {"find": ("read", "note"), "read": ("find", "name")}  # the same question to another app
_LOOKUPS = (*_ELSEWHERE, "balance")  # calls that change nothing


class Request(NamedTuple):
  """Errands to be run in a state."""

  start: Mapping[str, str | int]
  errands: Sequence[Errand]

  @property
  def text(self) -> str:
    """The question."""
    return "; ".join(errand.says for errand in self.errands)

  @property
  def calls(self) -> list[Call]:
    """All that the errands take, in order."""
    return [call for errand in self.errands for call in errand.calls]


def generate(index: int, *, split: str, difficulty: int = 2, seed: int = 0, challenge: float = 0.5) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 3, the number of errands.
    seed: another sequence of tasks.
    challenge: share of held-out tasks whose combination of errands is never trained on; 0 at difficulty 1.

  Raises:
    ValueError: an unknown split or difficulty, or a share outside [0, 1].
  """
  if difficulty not in (1, 2, 3):
    raise ValueError(f"ledger_apps has difficulties 1 to 3, not {difficulty!r}")
  if not 0 <= challenge <= 1:
    raise ValueError(f"challenge is a share between 0 and 1, got {challenge!r}")
  source = ("ledger_apps", difficulty, index, seed)
  is_new = split == splits.HELD_OUT and difficulty > 1 and splits.generator(split, source).random() < challenge
  side = splits.HELD_OUT if is_new else splits.TRAIN

  def make(rng: random.Random) -> Request:
    names = _combination(rng, difficulty, side)
    world = World(rng)
    start = dict(world.state)
    return Request(start, [ERRANDS[name](world) for name in names])

  request = splits.draw(make, lambda made: made.text, split=split, source=source)
  apps = Apps(request.start)
  return Task(
    id=splits.task_id("ledger_apps", split, difficulty, index, seed),
    family="ledger_apps",
    question=request.text,
    answer=_answer(request.errands),
    difficulty=difficulty,
    data={
      "start": dict(request.start),
      "gold": [{"name": call.name, "arguments": dict(call.arguments)} for call in request.calls],
      "outputs": [getattr(apps, call.name)(**call.arguments) for call in request.calls],
      "goal": apps.state,
      "errands": [{"calls": len(errand.calls), "tells": errand.tells} for errand in request.errands],
    },
    stratum="challenge" if is_new else "normal",
  )


def assertions(task: Task, state: Mapping[str, Any], answer: str) -> dict[str, bool]:
  """What is asserted of the state at the end and of the answer, by name, and whether it holds.

  Args:
    task: of this family.
    state: as of `Apps`.
    answer: of the last turn.
  """
  start, goal = task.data["start"], task.data["goal"]
  changed = [name for name in {**start, **goal} if start.get(name) != goal.get(name)]
  others = {**start, **goal, **state}.keys() - set(changed)
  return {
    **{name: state.get(name) == goal.get(name) for name in changed},
    "nothing else": all(state.get(name) == start.get(name) for name in others),
    "answer": answer.split() == str(task.answer).split(),
  }


# ---- demonstrations --------------------------------------------------------------------------------------------


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The calls that the errands take, one a turn, and the answer.

  Raises:
    ValueError: a tool, where ledger_apps brings its own.
  """
  if tool:
    raise ValueError(f"ledger_apps brings its own tools, and takes no {tool!r}")
  return [*_turns(_gold(task)), traces.answer(str(task.answer))]


def docs_first(task: Task, tool: str = "") -> list[Action]:
  """A habit: as the oracle, but the docs of each app are read before its first call."""
  app_of = {name: app for app, names in APPS.items() for name in names}
  calls, seen = [], []
  for call in _gold(task):
    app = app_of[call.name]
    calls += [call] if app in seen else [Call("docs", {"app": app}), call]
    seen.append(app)
  return [*_turns(calls), oracle(task, tool)[-1]]


def recovers(task: Task, tool: str = "") -> list[Action]:
  """A habit: as the oracle, but names are first read as notes, and titles first looked for in the contacts: in vain."""
  return [*_turns(_misdirected(_gold(task))), oracle(task, tool)[-1]]


def careless(task: Task, tool: str = "") -> list[Action]:
  """A habit: half of the errands are left out, by a lot of the task's own.

  Of the others a third each is run as needed, run as by `recovers`, and run without looking anything up: what should
  have been looked up is guessed.
  """
  oracle(task, tool)
  rng = random.Random(f"care {task.id}")
  calls, told = [], []
  for errand, gold in zip(task.data["errands"], _by_errand(task), strict=True):
    lot, run, tells = rng.randrange(6), [call for call, _ in gold], errand["tells"]
    if lot < 3:
      continue
    if lot == 3:
      run, tells = _guessed(rng, gold, tells)
    calls += _misdirected(run) if lot == 4 else run
    told += [tells] if tells else []
  return [*_turns(calls), traces.answer(" ".join(told) or DONE)]


HABITS = {"docs_first": docs_first, "recovers": recovers, "careless": careless}


def _gold(task: Task) -> list[Call]:
  return [Call(**call) for call in task.data["gold"]]


def _turns(calls: Iterable[Call]) -> list[Action]:
  return [Action(TurnKind.TOOL_CALL, "", calls=(ToolCall(call.name, dict(call.arguments)),)) for call in calls]


def _misdirected(calls: Iterable[Call]) -> list[Call]:
  """The calls, with what they look up first asked of the wrong app."""
  made = []
  for call in calls:
    if call.name in _ELSEWHERE:
      (asked,), (name, parameter) = call.arguments.values(), _ELSEWHERE[call.name]
      made.append(Call(name, {parameter: asked}))
    made.append(call)
  return made


def _by_errand(task: Task) -> Iterator[list[tuple[Call, str]]]:
  """The wanted calls of each errand, with what they give."""
  pairs = iter(zip(_gold(task), task.data["outputs"], strict=True))
  for errand in task.data["errands"]:
    yield [next(pairs) for _ in range(errand["calls"])]


def _guessed(rng: random.Random, gold: Sequence[tuple[Call, str]], tells: str) -> tuple[list[Call], str]:
  """The calls of an errand, and what is told of it, without its lookups: what these would give is made up."""
  made_up = {text: _made_up(rng, text) for call, text in gold if call.name in _LOOKUPS}
  calls = [
    Call(call.name, {name: type(value)(made_up.get(str(value), value)) for name, value in call.arguments.items()})
    for call, _ in gold
    if call.name not in _LOOKUPS
  ]
  return calls, made_up.get(tells, tells)


def _made_up(rng: random.Random, text: str) -> str:
  return str(rng.randrange(10, 60)) if text.isdigit() else rng.choice(ACCOUNTS)


# ---- an episode ------------------------------------------------------------------------------------------------


def environment(setting: Setting) -> LedgerApps:
  """A fresh one, for one trajectory."""
  return LedgerApps(setting)


class LedgerApps:
  """One episode: the three apps, in the state that the task says.

  Parts: "state", the share of the assertions that pass; "correct", whether all do.
  """

  def __init__(self, setting: Setting):
    self._setting, self._apps = setting, Apps()
    self._runner = ToolRunner(tools_of(self._apps), setting.limits)
    self._task: Task | None = None

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """The same for all tasks."""
    return self._runner.specs

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the episode; the request is the last message."""
    self._apps.reset(task, seed)
    self._task = task
    return [*self._setting.opening, Message("user", task.question)]

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      NoEpisode: none is open.
    """
    if self._task is None:
      raise NoEpisode()
    if action.kind is TurnKind.TOOL_CALL:
      return self._runner.run(action.calls)
    if action.kind is not TurnKind.ANSWER:
      return self._runner.refuse(action)
    passed = list(assertions(self._task, self._apps.state, str(action.answer)).values())
    self._task = None
    share = sum(passed) / len(passed)
    return Observation("", done=True, parts={"correct": float(all(passed)), "state": share})

  def close(self) -> None:
    """Ends the episode."""
    self._task = None


def _answer(errands: Iterable[Errand]) -> str:
  return " ".join(errand.tells for errand in errands if errand.tells) or DONE


def _combination(rng: random.Random, count: int, side: str) -> list[str]:
  """Names of errands that take neither too few nor too many calls, from the combinations of this side."""
  while True:
    names = [rng.choice(list(ERRANDS)) for _ in range(count)]
    is_ours = count == 1 or splits.belongs(f"errands {' '.join(sorted(names))}", side)
    if is_ours and sum(CALLS[name] for name in names) in _CALLS:
      return names
