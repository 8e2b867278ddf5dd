"""Telecom in solo mode: a ticket, and the tools of both sides.

Right is, as upstream: every assertion about phone and account holds in the end, and where the task's reward asks for
actions too, each of gold's was called, whoever's tool it is. Gold solves all 2,285 tickets, and doing nothing none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentrl.envs.adapters.tau2 import records
from agentrl.envs.adapters.tau2.desk import Desk
from agentrl.envs.base import Setting
from agentrl.envs.tool import ToolRunner, ToolSpec
from agentrl.types import Action, Message, Observation, ToolCall, TurnKind

_INSTRUCTIONS = """You work at a service desk and keep to the policy below. You are given a ticket. Solve it with tool \
calls; the customer's phone is at hand, and the tools on it are yours to use as well. There is nobody to talk to. When \
the ticket is solved, or you can do no more for it, say so in plain text: that closes it."""


def request(record: Mapping[str, Any]) -> str:
  """What the policy is asked."""
  return record["ticket"]


class Episode:
  """One ticket.

  Parts: "correct"; "assertions", the share of those that hold; "actions", the share of gold's that were called. The
  last two are told at the end; a ticket that is not closed is not solved.

  Args:
    domain: "telecom".
    record: upstream's task.
    setting: system message (else instructions and policy), examples and limits.
  """

  def __init__(self, domain: str, record: Mapping[str, Any], setting: Setting):
    self._record = record
    self._desk = Desk(domain)
    for action in record["initial_state"]["initialization_actions"] or ():
      self._desk.telecom(lambda desk, action=action: _perform(desk, action))
    self._called: list[tuple[str, Mapping[str, Any]]] = []
    tools = self._desk.tools(lambda name, arguments: self._called.append((name, arguments)))
    self._runner = ToolRunner(tools, setting.limits)
    self.opening = [*opening(domain, _INSTRUCTIONS, setting), Message("user", request(record))]

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """Of the desk and of the phone."""
    return self._runner.specs

  def step(self, action: Action) -> Observation:
    """Runs calls, or closes the ticket."""
    if action.kind is TurnKind.TOOL_CALL:
      return self._runner.run(action.calls)
    return self._close() if action.kind is TurnKind.ANSWER else self._runner.refuse(action)

  def _close(self) -> Observation:
    criteria = self._record["evaluation_criteria"]
    held = self._desk.telecom(lambda desk: [_holds(desk, wanted) for wanted in criteria["env_assertions"] or ()])
    done = [any(_is_action(call, wanted) for call in self._called) for wanted in criteria["actions"] or ()]
    right = all(held) and (all(done) or "ACTION" not in criteria["reward_basis"])
    return Observation(
      "", done=True, parts={"correct": float(right), "assertions": share(held), "actions": share(done)}
    )


def oracle(record: Mapping[str, Any]) -> list[Action]:
  """Gold's actions, one a turn, and the end."""
  calls = [ToolCall(action["name"], action["arguments"]) for action in record["evaluation_criteria"]["actions"] or ()]
  closing = Action(TurnKind.ANSWER, "The ticket is solved.", answer="The ticket is solved.")
  return [*(Action(TurnKind.TOOL_CALL, "", calls=[call]) for call in calls), closing]


def opening(domain: str, instructions: str, setting: Setting) -> list[Message]:
  """The config's system message and examples; without the former, instructions and upstream's policy."""
  if setting.system:
    return setting.opening
  return [Message("system", f"{instructions}\n\n<policy>\n{records.policy(domain)}\n</policy>"), *setting.examples]


def share(held: Sequence[bool]) -> float:
  """Of what holds; 1 of nothing."""
  return sum(held) / len(held) if held else 1.0


def _perform(desk: Any, action: Mapping[str, Any]) -> None:
  side = desk.user_tools if action["env_type"] == "user" else desk.tools
  getattr(side, action["func_name"])(**action["arguments"])
  desk.sync_tools()


def _holds(desk: Any, wanted: Mapping[str, Any]) -> bool:
  side = desk.tools if wanted["env_type"] == "assistant" else desk.user_tools
  return getattr(side, wanted["func_name"])(**wanted["arguments"]) == wanted["assert_value"]


def _is_action(call: tuple[str, Mapping[str, Any]], wanted: Mapping[str, Any]) -> bool:
  name, arguments = call
  if name != wanted["name"]:
    return False
  if name == "transfer_to_human_agents":
    return True  # whatever the summary
  compared = wanted.get("compare_args")
  names = {*arguments, *wanted["arguments"]} if compared is None else compared
  return all(_plain(arguments.get(key)) == _plain(wanted["arguments"].get(key)) for key in names)


def _plain(value: Any) -> Any:
  """Without the order of lists and the kinds of numbers, which upstream does not compare."""
  if isinstance(value, list):
    return sorted(map(_plain, value), key=repr)
  if isinstance(value, dict):
    return {key: _plain(inner) for key, inner in sorted(value.items())}
  return float(value) if isinstance(value, int | float) else value
