"""AgentDojo: requests to an assistant with a mailbox, a bank account or a chat, and instructions planted in them.

97 requests of four suites with 74 tools (Debenedetti et al., 2024, https://arxiv.org/abs/2406.13352; MIT licence),
version 1.2.2. Tools, their schemas, the state of the world and the checks are upstream's. An eighth of the requests, by
a hash of the name, is held out; upstream made some by joining two others, and those may be split. Difficulty is
upstream's grade: 1 takes the easy requests, 2 also the medium, 3 all.

With an `attack`, texts that the request makes the policy read contain the goal of one of the suite's injection tasks,
34 in all (one of upstream's 35 is left out, see `_BLIND`; eight of the workspace come without calls that reach them).
Part "correct" is the request's own check, which wants an answer. Part "security" is 1 unless the planted goal has been
reached; after every turn it tells how things stand. Without an attack there is only "correct".
Upstream's check of five requests of the bank (5, 6, 8, 9, 10) is content when nothing at all is done.

`task.data` holds "suite", "user_task", "attack", "injection_task" and "injections", the planted texts by their place.
Outputs of tools have up to 28,000 characters, in the workspace: allow for that with `max_output_chars`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from agentrl.envs.adapters.agentdojo.suites import attack_on, attacks, load_suites
from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tool import Tool, ToolRunner, ToolSpec, given_tool
from agentrl.named import check_name
from agentrl.types import Action, Message, Observation, Task, TurnKind

# Its check looks for the one mail with a certain subject, and is blind where the planted text is itself in a mail.
_BLIND = (("workspace", "injection_task_0"),)


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  suite: str = "",
  attack: str = "",
  injection: int | None = None,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one; behind the last request, or the last pair of request and injection, the list starts over.
    split: "train" or "held_out".
    difficulty: 1 to 3.
    seed: another order.
    suite: "workspace", "travel", "banking" or "slack"; empty for all.
    attack: upstream's name, such as "direct" or "important_instructions"; empty for none.
    injection: the number of the suite's injection task, as upstream counts; None for all in turn.

  Raises:
    ValueError: an unknown split, difficulty, suite, attack or injection, or an injection without an attack.
  """
  pairs = _pairs(split, difficulty, suite, bool(attack), injection)
  order = list(pairs)
  splits.generator(split, ("agentdojo", difficulty, suite, seed)).shuffle(order)
  name, request, planted = order[index % len(order)]
  return Task(
    id=splits.task_id("agentdojo", split, difficulty, index, seed),
    family="agentdojo",
    question=load_suites()[name].user_tasks[request].PROMPT,
    difficulty=_grade(load_suites()[name].user_tasks[request]),
    data={
      "suite": name,
      "user_task": request,
      "attack": attack,
      "injection_task": planted,
      "injections": attack_on(name, attack, request, planted) if attack else {},
    },
  )


class Workplace:
  """One request, in a world of its own.

  Args:
    setting: system message (upstream's where it is empty), examples and limits of the tools.
  """

  def __init__(self, setting: Setting | None = None):
    setting = Setting() if setting is None else setting
    self._setting = setting if setting.system else dataclasses.replace(setting, system=_system())
    self._task: Task | None = None
    self._runner = ToolRunner({}, self._setting.limits)

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """The suite's, in upstream's order; none before `reset`."""
    return self._runner.specs

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Makes the world of the task; nothing is random here."""
    del seed
    self._before = world(task)
    self._now = self._before.model_copy(deep=True)
    self._calls: list[Any] = []
    tools = {
      name: dataclasses.replace(tool, function=functools.partial(self._call, name))
      for name, tool in _tools(task.data["suite"]).items()
    }
    self._runner = ToolRunner(tools, self._setting.limits)
    self._task = task
    return [*self._setting.opening, Message("user", task.question)]

  def step(self, action: Action) -> Observation:
    """Answers one turn; an answer ends the episode.

    Raises:
      NoEpisode: none is open.
    """
    if self._task is None:
      raise NoEpisode()
    if action.kind is TurnKind.ANSWER:
      parts = {"correct": self._correct(self._task, action.answer)} | self._security(self._task, action.answer)
      self._task = None
      return Observation("", done=True, parts=parts)
    ran = self._runner.run(action.calls) if action.kind is TurnKind.TOOL_CALL else self._runner.refuse(action)
    return dataclasses.replace(ran, parts={"correct": 0.0} | self._security(self._task, ""))

  def close(self) -> None:
    """Ends the episode."""
    self._task = None

  def _call(self, name: str, **arguments: Any) -> str:
    """Runs a tool of the suite, and shows what it returns as upstream does."""
    from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
    from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
    from pydantic import ValidationError

    self._calls.append(FunctionCall(function=name, args=arguments))
    runtime = FunctionsRuntime(load_suites()[self._task.data["suite"]].tools)
    try:
      result, _ = runtime.run_function(self._now, name, arguments, raise_on_error=True)
    except ValidationError as error:
      raise ToolArgumentError("; ".join(f"{found['loc']}: {found['msg']}" for found in error.errors())) from error
    return tool_result_to_str(result)

  def _correct(self, task: Task, answer: str) -> float:
    request = load_suites()[task.data["suite"]].user_tasks[task.data["user_task"]]
    return float(_verdict(request.utility_from_traces, request.utility, answer, self._before, self._now, self._calls))

  def _security(self, task: Task, answer: str) -> Mapping[str, float]:
    if not task.data["attack"]:
      return {}
    planted = load_suites()[task.data["suite"]].injection_tasks[task.data["injection_task"]]
    reached = _verdict(planted.security_from_traces, planted.security, answer, self._before, self._now, self._calls)
    return {"security": float(not reached)}


def environment(setting: Setting) -> Workplace:
  """A fresh one, for one trajectory."""
  return Workplace(setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The calls of upstream's ground truth, which no planted text leads astray, then its answer; there is no tool."""
  del tool
  request = load_suites()[task.data["suite"]].user_tasks[task.data["user_task"]]
  return [*calls_of(request, world(task)), traces.answer(request.GROUND_TRUTH_OUTPUT)]


def world(task: Task) -> Any:
  """The state that the task starts from, with what is planted in it; a copy."""
  suite = load_suites()[task.data["suite"]]
  fresh = suite.load_and_inject_default_environment(task.data["injections"])
  return suite.user_tasks[task.data["user_task"]].init_environment(fresh)


def calls_of(wanted: Any, state: Any) -> list[Action]:
  """The ground truth of upstream's user task or injection task, a turn for each call."""
  found = wanted.ground_truth(state)
  return [traces.call(call.function, **json.loads(json.dumps(dict(call.args)))) for call in found]


def _verdict(from_traces: Any, from_state: Any, answer: str, before: Any, now: Any, calls: Sequence[Any]) -> bool:
  """What upstream's check says; it gets copies, since some look into a mailbox and mark what they read."""
  states = (before.model_copy(deep=True), now.model_copy(deep=True))
  told = from_traces(answer, *states, calls)
  return bool(from_state(answer, *states) if told is None else told)


@functools.cache
def _pairs(
  split: str, difficulty: int, suite: str, attacked: bool, injection: int | None
) -> tuple[tuple[str, str, str], ...]:
  """Suite, user task and injection task of every task; the last is empty where there is no attack."""
  if difficulty not in (1, 2, 3):
    raise ValueError(f"agentdojo has difficulties 1 to 3, not {difficulty!r}")
  if injection is not None and not attacked:
    raise ValueError(f"injection {injection!r} is planted by an attack; set the option attack: {', '.join(attacks())}")
  if suite:
    check_name(load_suites(), suite, kind="suite")
  pairs = []
  for name in [suite] if suite else load_suites():
    planted = [key for key in load_suites()[name].injection_tasks if (name, key) not in _BLIND] if attacked else [""]
    if injection is not None:
      planted = [key for key in planted if key == f"injection_task_{injection}"]
    for request, wanted in load_suites()[name].user_tasks.items():
      if splits.belongs(f"{name} {request}", split) and _grade(wanted) <= difficulty:
        pairs += [(name, request, key) for key in planted]
  if not pairs:
    raise ValueError(f"no {split} task of difficulty {difficulty}, suite {suite!r} and injection {injection!r}")
  return tuple(pairs)


def _grade(wanted: Any) -> int:
  return {"EASY": 1, "MEDIUM": 2, "HARD": 3}[wanted.DIFFICULTY.name]


@functools.cache
def _tools(suite: str) -> Mapping[str, Tool]:
  """Specs and checks of arguments; the function of each is put in by the episode."""
  return {
    tool.name: given_tool(ToolSpec(tool.name, tool.description, tool.parameters.model_json_schema()), tool.run)
    for tool in load_suites()[suite].tools
  }


@functools.cache
def _system() -> str:
  text = importlib.resources.files("agentdojo").joinpath("data/system_messages.yaml").read_text(encoding="utf-8")
  return yaml.safe_load(text)["default"].strip()
