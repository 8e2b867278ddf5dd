"""Dialogues on simulators, and upstream's check of them after each request.

The policy calls tools until it answers; its answer ends the request, and the next one is the observation. After a
request, if gold has calls for it: the policy has called something; every simulator is in the state in which gold's
calls leave it; and what gold's calls gave is among all that the policy's calls have given since the start, in any
order. A request for which gold has no call is not checked, but what the policy does there stays done. The
dialogue is correct when every check holds, and lost at once when a request takes more steps than upstream allows.

In miss_func some tools are held back until a request that brings nothing but them; they are then in the observation and
in `tools`. As upstream, a call that guesses one of them earlier is run (gold of multi_turn_miss_func_49 has one), and
types of arguments are not checked (gold of number 173 has a wrong one): the simulators take what they take. Unlike
upstream, for which a malformed turn ends the request, it is told what was wrong and counts as a step.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bfcl_eval.constants.default_prompts import DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC, MAXIMUM_STEP_LIMIT

from agentrl.envs.adapters.bfcl import entries
from agentrl.envs.adapters.bfcl.simulators import Simulators, parse_call
from agentrl.envs.base import Setting
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Tool, ToolRunner, ToolSpec
from agentrl.types import Action, Message, Observation, ToolCall, TurnKind

STEPS = MAXIMUM_STEP_LIMIT  # with tool calls, of one request


class Episode:
  """One dialogue.

  Parts: "correct", and "requests", the share of requests that were checked and right.

  Args:
    category: one of `entries.DIALOGUES`.
    entry: `Entry.content`.
    setting: system message, examples and limits.
  """

  def __init__(self, category: str, entry: Mapping[str, Any], setting: Setting):
    self._entry = entry
    self._limits = setting.limits
    self._simulators = _simulators(category, entry)
    self._gold = _simulators(category, entry)
    self._given: list[str] = []
    self._request, self._steps, self._called = 0, 0, False
    self._right: list[bool] = []
    self._tools = {spec.name: self._tool(spec) for spec in _specs(entry)}
    self.opening = [*setting.opening, Message("user", entry["requests"][0])]

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """What may be called at this request."""
    hidden = self._hidden()
    return [tool.spec for name, tool in self._tools.items() if name not in hidden]

  def step(self, action: Action) -> Observation:
    """Runs calls, or goes on to the next request."""
    if action.kind is TurnKind.ANSWER:
      return self._next_request()
    self._steps += 1
    self._called |= action.kind is TurnKind.TOOL_CALL
    runner = self._runner(action)
    observation = runner.run(action.calls) if action.kind is TurnKind.TOOL_CALL else runner.refuse(action)
    done = self._steps > STEPS
    return Observation(
      "" if done else observation.text,
      done=done,
      parts={"correct": 0.0, "requests": self._share},
      ok=observation.ok,
      results=observation.results,
      name=observation.name,
    )

  @property
  def _share(self) -> float:
    checked = sum(1 for calls in self._entry["gold"] if calls)
    return sum(self._right) / checked

  def _next_request(self) -> Observation:
    self._check()
    self._request, self._steps, self._called = self._request + 1, 0, False
    if self._request == len(self._entry["requests"]):
      return Observation("", done=True, parts={"correct": float(all(self._right)), "requests": self._share})
    text = self._entry["requests"][self._request]
    if new := self._held_back(self._request):
      described = "\n".join(json.dumps(_described(spec), ensure_ascii=False) for spec in new)
      text = f"{described}\n{DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC}"
    return Observation(text, parts={"correct": 0.0, "requests": self._share})

  def _check(self) -> None:
    calls = self._entry["gold"][self._request]
    wanted = [self._gold.outcome(parse_call(call))[0] for call in calls]
    if calls:
      missing = Counter(wanted) - Counter(self._given)
      self._right.append(self._called and not missing and self._gold.same_state(self._simulators))

  def _held_back(self, request: int) -> list[ToolSpec]:
    return [self._tools[name].spec for name in self._entry["held_back"].get(str(request), ())]

  def _hidden(self) -> set[str]:
    later = range(self._request + 1, len(self._entry["requests"]))
    return {spec.name for request in later for spec in self._held_back(request)}

  def _runner(self, action: Action) -> ToolRunner:
    """Of the shown tools and those that the action guesses; one that lists what there is must not name the others."""
    hidden = self._hidden() - {call.name for call in action.calls}
    return ToolRunner({name: tool for name, tool in self._tools.items() if name not in hidden}, self._limits)

  def _tool(self, spec: ToolSpec) -> Tool:
    def bind(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
      try:
        return self._simulators.by_keyword((spec.name, (), arguments))
      except TypeError as error:
        expected = ", ".join(spec.schema["properties"]) or "none"
        raise ToolArgumentError(f"{error}; expected: {expected}") from error

    def function(**arguments: Any) -> str:
      text, error = self._simulators.outcome((spec.name, (), arguments))
      self._given.append(text)
      if error is not None:
        raise error
      return text

    return Tool(spec, bind, function)


def oracle(category: str, entry: Mapping[str, Any]) -> list[Action]:
  """Gold's calls, one a turn where upstream's limit of steps allows it, and an answer after each request."""
  simulators = _simulators(category, entry)
  actions = []
  for texts in entry["gold"]:
    calls = [_tool_call(simulators, text) for text in texts]
    size = max(1, math.ceil(len(calls) / STEPS))
    groups = [calls[start : start + size] for start in range(0, len(calls), size)]
    actions += [Action(TurnKind.TOOL_CALL, "", calls=group) for group in groups]
    actions.append(Action(TurnKind.ANSWER, "Done.", answer="Done."))
  return actions


def _tool_call(simulators: Simulators, text: str) -> ToolCall:
  call = parse_call(text)
  return ToolCall(call[0], simulators.by_keyword(call))


def _simulators(category: str, entry: Mapping[str, Any]) -> Simulators:
  long_context = category == "multi_turn_long_context"
  return Simulators(entry["simulators"], entry["initial"], long_context=long_context)


def _specs(entry: Mapping[str, Any]) -> list[ToolSpec]:
  return [spec for name in entry["simulators"] for spec in _specs_of(name)]


@functools.cache
def _specs_of(simulator: str) -> list[ToolSpec]:
  return [entries.tool_spec(function) for function in entries.simulator_functions(simulator)]


def _described(spec: ToolSpec) -> dict[str, Any]:
  return {"name": spec.name, "description": spec.description, "parameters": spec.schema}
