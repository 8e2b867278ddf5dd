"""Airline and shop: a conversation with a customer, and a database.

Right is, as upstream: the database ends as gold's calls leave it, and the policy has told what it had to tell. A
conversation that is cut off is not right. Gold solves all 50 and 114 tasks; doing nothing solves 19 and 7, whose
customers ask for what the policy must refuse.

In 18 tasks of retail gold itself has calls that the toolkit refuses, which upstream passes over: look-ups of what is
not there, and four changes (tasks 12 and 13: money to a way of payment that is not the order's; 64: an order that is
not delivered; 105: a gift card that is too low).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentrl.envs.adapters.tau2.customer import Customer
from agentrl.envs.adapters.tau2.desk import Desk
from agentrl.envs.adapters.tau2.solo import opening, share
from agentrl.envs.base import Setting
from agentrl.envs.tool import ToolRunner, ToolSpec
from agentrl.types import Action, Message, Observation, ToolCall, TurnKind

UTTERANCES = 30  # of the policy; a scripted customer never loses patience
_HANDED_ON = "transfer_to_human_agents"
_INSTRUCTIONS = """You serve customers and keep to the policy below. In each turn either say something to the \
customer, in plain text, or call a tool."""


def request(record: Mapping[str, Any]) -> str:
  """What the customer says first."""
  return _customer(record).opens()


class Episode:
  """One conversation.

  Parts: "correct"; "database", whether it is gold's; "communicated", the share of what was to be told. The last two
  are told at the end.

  Args:
    domain: "airline" or "retail".
    record: upstream's task.
    setting: system message (else instructions and policy), examples and limits.
  """

  def __init__(self, domain: str, record: Mapping[str, Any], setting: Setting):
    self._domain, self._record = domain, record
    self._desk = Desk(domain)
    self._handed_on = False
    self._said: list[str] = []
    self._customer = _customer(record)
    self._runner = ToolRunner(self._desk.tools(self._hear), setting.limits)
    self.opening = [*opening(domain, _INSTRUCTIONS, setting), Message("user", self._customer.opens())]

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """Of the desk."""
    return self._runner.specs

  def step(self, action: Action) -> Observation:
    """Runs calls, or lets the customer reply."""
    if action.kind is TurnKind.TOOL_CALL:
      return self._runner.run(action.calls)
    if action.kind is not TurnKind.ANSWER or action.answer is None:
      return self._runner.refuse(action)
    self._said.append(action.answer)
    reply = None if self._handed_on else self._customer.replies(action.answer)
    return self._close() if reply is None or len(self._said) >= UTTERANCES else Observation(reply)

  def _hear(self, name: str, arguments: Mapping[str, Any]) -> None:
    del arguments
    self._handed_on |= name == _HANDED_ON

  def _close(self) -> Observation:
    criteria = self._record["evaluation_criteria"]
    gold = Desk(self._domain)
    gold.replay(criteria["actions"] or ())
    same = self._desk.same_database(gold)
    said = "\n".join(self._said).lower().replace(",", "")
    told = [wanted.lower() in said for wanted in criteria["communicate_info"] or ()]
    parts = {"correct": float(same and all(told)), "database": float(same), "communicated": share(told)}
    return Observation("", done=True, parts=parts)


def oracle(record: Mapping[str, Any]) -> list[Action]:
  """Hears the customer out, does what gold does, and tells what is to be told."""
  customer, criteria = _customer(record), record["evaluation_criteria"]
  customer.opens()
  asking = [_utterance("I see. Is there more that I should know?") for _ in range(customer.parts_left)]
  calls = [ToolCall(action["name"], action["arguments"]) for action in criteria["actions"] or ()]
  doing = [Action(TurnKind.TOOL_CALL, "", calls=[call]) for call in calls]
  return [*asking, *doing, _utterance(" ".join(["That is all done.", *(criteria["communicate_info"] or ())]))]


def _utterance(text: str) -> Action:
  return Action(TurnKind.ANSWER, text, answer=text)


def _customer(record: Mapping[str, Any]) -> Customer:
  return Customer(record["user_scenario"]["instructions"])
