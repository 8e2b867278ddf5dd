"""Toolworld: a few typed tools, some values, and a question for a value of another type.

A prompt shows the signatures of the tools that this task offers, `cX(k) fI(c,n)`; the name of a tool begins with the
type of what it gives. The question gives values by type and asks for others: "k372 d155 n3+4 f?" wants an f, which here
takes `<cX:372>` and then `<fI:618|7>`, where n is the sum. Results are hashes of the call and the task, so that nothing
can be guessed or learned by heart. A tool answers "none" to a value that is not, in this episode, of the type it takes.

Difficulty is the number of calls that the answer takes, 1 to 4. Where tasks come from is the option `source`:

  trace  the tools are run from the given values, and what is asked follows from the trace alone: by brute force over
         all calls there is no other way to a value of a wanted type
  query  a question is asked first and its answer looked for: some are ambiguous (a second way leads to another value,
         which counts as wrong), and of some no call leads to an answer, which is then "none"

By construction a question, values and tools together, is in one split.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.schema import Parameter, bind
from agentrl.envs.tasks.data import tool_pool
from agentrl.envs.tasks.data.tool_pool import COUNT
from agentrl.envs.tasks.data.tool_questions import SOURCES, Form, content
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tool import Tool, ToolRunner, ToolSpec
from agentrl.named import by_name
from agentrl.types import Action, Message, Observation, Task, ToolCall, TurnKind

NONE = "none"  # no such value; and the answer where there is none


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  pool: int = 8,
  types: int = 8,
  least_parameters: int = 0,
  most_parameters: int = 3,
  offered: int = 4,
  wanted: int = 1,
  source: str = "trace",
  single_step: bool = False,
  world: int = 0,
  held_out_world: int = 0,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: calls that the answer takes, 1 to 4.
    seed: another sequence of tasks.
    pool: tools of the world, up to 2,000; a small pool is learned by heart.
    types: of values.
    least_parameters: of a tool.
    most_parameters: of a tool, 3 or fewer.
    offered: tools of a task.
    wanted: values that are asked for.
    source: key of `SOURCES`.
    single_step: the episode ends with the first turn, which is right where its calls are the right ones.
    world: which pool.
    held_out_world: which pool the held-out tasks are from; another one than `world` asks for tools never seen.

  Raises:
    ValueError: an unknown split or source, or numbers that leave no task.
  """
  if difficulty not in (1, 2, 3, 4):
    raise ValueError(f"toolworld has difficulties 1 to 4, not {difficulty!r}")
  if not difficulty <= offered <= pool:
    raise ValueError(f"offered={offered} must be between the difficulty, {difficulty}, and pool={pool}")
  if not 1 <= wanted <= difficulty:
    raise ValueError(f"wanted={wanted} must be between 1 and the difficulty, {difficulty}")
  chosen = held_out_world if split == splits.HELD_OUT else world
  known = tool_pool.pool(pool, types=types, least=least_parameters, most=most_parameters, seed=chosen)
  origin = ("toolworld", difficulty, index, seed, pool, types, offered, wanted, source, single_step, chosen)
  ask = by_name(SOURCES, source, kind="source of toolworld")
  form = Form(types, offered, wanted, difficulty, single_step)
  make = functools.partial(ask, known, form=form, salt=repr(origin))
  question = splits.draw(make, content, split=split, source=origin)
  return Task(
    id=splits.task_id("toolworld", split, difficulty, index, seed),
    family="toolworld",
    question=question.text,
    answer=" ".join(derived.value for derived in question.derived) or NONE,
    difficulty=difficulty,
    data={
      "tools": [{"name": tool.name, "inputs": list(tool.inputs)} for tool in question.tools],
      "given": dict(question.given),
      "count": sum(question.addends),
      "salt": repr(origin),
      "gold": [{"name": call.name, "arguments": dict(call.arguments)} for call in question.calls],
      "outputs": [tool_pool.result(call.name, dict(call.arguments), repr(origin)) for call in question.calls],
      "single_step": single_step,
    },
    stratum=question.stratum,
  )


def check(task: Task, answer: str) -> bool:
  """Whether the last words of the answer are the wanted values, in their order, or "none"."""
  right = str(task.answer).split()
  return re.findall(r"[a-z0-9]+", answer.lower())[-len(right) :] == right


def oracle(task: Task, tool: str = "") -> list[Action]:
  """Calls that depend on no other come in one turn; then those that take their results, and so on; then the answer.

  Raises:
    ValueError: a tool, where toolworld brings its own.
  """
  if tool:
    raise ValueError(f"toolworld brings its own tools, and takes no {tool!r}")
  steps = [
    Action(TurnKind.TOOL_CALL, "", calls=tuple(ToolCall(call["name"], call["arguments"]) for call in calls))
    for calls in _levels(task.data["gold"], task.data["outputs"])
  ]
  answer = traces.answer(str(task.answer))
  return (steps or [answer])[:1] if task.data["single_step"] else [*steps, answer]


def one_by_one(task: Task, tool: str = "") -> list[Action]:
  """A habit: as the oracle, but one call a turn; a question of a single step as by the oracle."""
  *turns, last = oracle(task, tool)
  return [dataclasses.replace(turn, calls=(call,)) for turn in turns for call in turn.calls] + [last]


def everything(task: Task, tool: str = "") -> list[Action]:
  """A habit: every tool on every value that is there, turn after turn, until all that is asked for is there too.

  A question without an answer, or of a single step, is solved as by the oracle.
  """
  if task.data["single_step"] or not task.data["gold"]:
    return oracle(task, tool)
  there: dict[str, list[str | int]] = {COUNT: [task.data["count"]]}
  for kind, value in task.data["given"].items():
    there[kind] = [value]
  turns, made = [], []
  while not set(task.data["outputs"]) <= {value for values in there.values() for value in values}:
    calls = [call for call in _callable(task.data["tools"], there) if call not in made]
    made += calls
    turns.append(Action(TurnKind.TOOL_CALL, "", calls=tuple(calls)))
    for call in calls:
      there.setdefault(call.name[0], []).append(tool_pool.result(call.name, call.arguments, task.data["salt"]))
  return [*turns, traces.answer(str(task.answer))]


HABITS = {"one_by_one": one_by_one, "everything": everything}


def _callable(tools: Sequence[Mapping[str, Any]], there: Mapping[str, Sequence[str | int]]) -> list[ToolCall]:
  """All calls of the tools with values that are there, by type."""
  return [
    ToolCall(tool["name"], dict(zip(tool["inputs"], values, strict=True)))
    for tool in tools
    for values in itertools.product(*(there.get(kind, ()) for kind in tool["inputs"]))
  ]


def environment(setting: Setting) -> ToolWorld:
  """A fresh one, for one trajectory."""
  return ToolWorld(setting)


class ToolWorld:
  """One episode: the task's tools, and which values of which type there are so far.

  Parts: "correct". In a task of a single step that is whether the calls of the first turn are the right ones, in any
  order; in others it is the check of the answer.
  """

  def __init__(self, setting: Setting):
    self._setting = setting
    self._runner = ToolRunner({}, setting.limits)
    self._task: Task | None = None
    self._values: set[tuple[str, str]] = set()

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """The task's own; none before `reset`."""
    return self._runner.specs

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the episode; the question is the last message."""
    del seed
    self._task, self._values = task, set(task.data["given"].items())
    self._runner = ToolRunner({tool["name"]: self._tool(**tool) for tool in task.data["tools"]}, self._setting.limits)
    return [*self._setting.opening, Message("user", task.question)]

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      NoEpisode: none is open.
    """
    if self._task is None:
      raise NoEpisode()
    gold, is_call = self._task.data["gold"], action.kind is TurnKind.TOOL_CALL
    seen = self._runner.run(action.calls) if is_call else Observation("")
    if action.kind is TurnKind.ANSWER:
      is_due = not (gold and self._task.data["single_step"])
      return self._finish(seen, is_due and check(self._task, str(action.answer)))
    if self._task.data["single_step"]:
      return self._finish(seen, is_call and _same_calls(action.calls, gold))
    return seen if is_call else self._runner.refuse(action)

  def close(self) -> None:
    """Ends the episode."""
    self._task = None

  def _finish(self, seen: Observation, correct: bool) -> Observation:
    self._task = None
    return dataclasses.replace(seen, text="", done=True, parts={"correct": float(correct)})

  def _tool(self, name: str, inputs: Sequence[str]) -> Tool:
    parameters = tuple(_parameter(kind) for kind in inputs)
    schema = {"properties": {p.name: p.schema for p in parameters}, "required": [p.name for p in parameters]}
    spec = ToolSpec(name, f"Gives a {name[0]}.", {"type": "object", **schema})
    return Tool(spec, functools.partial(bind, parameters), functools.partial(self._call, name))

  def _call(self, name: str, **arguments: str | int) -> str:
    if any(kind != COUNT and (kind, value) not in self._values for kind, value in arguments.items()):
      return NONE
    given = tool_pool.result(name, arguments, self._task.data["salt"])
    self._values.add((name[0], given))
    return given


def _parameter(kind: str) -> Parameter:
  hint, schema = (int, "integer") if kind == COUNT else (str, "string")
  return Parameter(kind, hint, {"type": schema}, required=True)


def _same_calls(calls: Sequence[ToolCall], gold: Sequence[Mapping[str, Any]]) -> bool:
  """Whether these are the same calls, in any order."""
  written = [(call.name, dict(call.arguments)) for call in calls]
  wanted = [(call["name"], call["arguments"]) for call in gold]
  return len(written) == len(wanted) and all(written.count(call) == wanted.count(call) for call in wanted)


def _levels(gold: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> list[list[Mapping[str, Any]]]:
  """The calls in as few turns as can be: each in the first in which the results that it takes are there."""
  turn_of: dict[tuple[str, str], int] = {}
  turns: list[list[Mapping[str, Any]]] = []
  for call, output in zip(gold, outputs, strict=True):
    turn = max((turn_of.get(item, -1) + 1 for item in call["arguments"].items()), default=0)
    turn_of[call["name"][0], output] = turn
    turns += [[]] * (turn == len(turns))
    turns[turn] = [*turns[turn], call]
  return turns
