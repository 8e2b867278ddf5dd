"""A domain's tools over the database of one episode.

Upstream's toolkits find their state in a `Store` that they take from a context variable, whose default is one
`Store` for the whole process. Here each desk has a context and a store of its own.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from inspect_ai.tool import ToolError
from inspect_ai.util import Store, StoreModel
from inspect_ai.util._store import init_subtask_store  # what has no public way
from inspect_evals.tau2.airline.AirlineAgentTools import AirlineAgentTools
from inspect_evals.tau2.retail.RetailAgentTools import RetailAgentTools
from inspect_evals.tau2.telecom.environment import Environment as Telecom
from inspect_evals.tau2.telecom.environment import get_environment
from inspect_evals.tau2.telecom.TelecomAgentTools import TelecomAgentTools

from agentrl.envs.adapters.tau2 import records
from agentrl.envs.tool import Tool, given_tool

_RANDOM_BILL = re.compile("B[0-9a-f]{8}")
_TOOLKITS: Mapping[str, tuple[type[StoreModel], str]] = {
  "airline": (AirlineAgentTools, "AirlineTools"),
  "retail": (RetailAgentTools, "RetailTools"),
}


class Desk:
  """The tools of a domain, on a database in its initial state.

  Args:
    domain: "telecom", "airline" or "retail".
  """

  def __init__(self, domain: str):
    self._domain = domain
    self._store = Store()
    self._context = contextvars.Context()
    self._context.run(init_subtask_store, self._store)
    if domain == "telecom":
      self.telecom(lambda desk: None)
    else:
      kind, name = _TOOLKITS[domain]
      self._toolkit = kind(store=self._store, instance=name, db=_on_use(domain), initialized=True)

  def tools(self, called: Callable[[str, Mapping[str, Any]], None]) -> dict[str, Tool]:
    """By name; `called` hears of every call whose arguments fit the schema, before it is run."""
    return {name: self._tool(tool, run, called) for name, (tool, run) in _checked_tools(self._domain).items()}

  def telecom(self, function: Callable[[Telecom], Any]) -> Any:
    """What a function of both sides of telecom gives; the phone has heard of what the desk did, and the reverse."""
    return self._context.run(lambda: function(get_environment()))

  def replay(self, actions: Sequence[Mapping[str, Any]]) -> None:
    """Gold's actions, as upstream replays them: those that the toolkit refuses are passed over."""
    for action in actions:
      if action["name"] in ("calculate", "transfer_to_human_agents"):
        continue  # tools that have no database
      with contextlib.suppress(ToolError):  # gold of retail has some
        getattr(self._toolkit, action["name"])(**copy.deepcopy(action["arguments"]))

  def same_database(self, other: Desk) -> bool:
    """Whether the airline's or the shop's data are equal; only what was used can differ."""
    return all(
      _written(table, key) == _written(theirs, key)
      for table, theirs in zip(self._tables(), other._tables(), strict=True)
      for key in table.used | theirs.used
    )

  def _tables(self) -> Iterator[CopiedOnUse]:
    database = self._toolkit.db
    return (getattr(database, name) for name in type(database).model_fields)

  def _tool(self, tool: Tool, run: Any, called: Callable[[str, Mapping[str, Any]], None]) -> Tool:
    def function(**arguments: Any) -> str:
      called(tool.spec.name, arguments)
      result = self._context.run(_run_coroutine, run, copy.deepcopy(arguments))
      if self._domain == "telecom":
        self.telecom(lambda desk: _name_bills(desk.tools))
      return result

    return dataclasses.replace(tool, function=function)


class CopiedOnUse(dict):
  """A table of a database that all episodes share: a row that is asked for by its key is copied first.

  Upstream's toolkits change a row only when they have it by its key; what they do with `values` and `items` is reading.
  Copying a whole database takes up to a second.
  """

  def __init__(self, shared: Mapping[str, Any]):
    super().__init__(shared)
    self.used: set[str] = set()

  def __getitem__(self, key: str) -> Any:
    if key in self and key not in self.used:
      self[key] = copy.deepcopy(super().__getitem__(key))
    return super().__getitem__(key)

  def __setitem__(self, key: str, value: Any) -> None:
    self.used.add(key)
    super().__setitem__(key, value)


def _on_use(domain: str) -> Any:
  shared = records.database(domain)
  tables = {name: CopiedOnUse(getattr(shared, name)) for name in type(shared).model_fields}
  return type(shared).model_construct(**tables)


@cache
def _checked_tools(domain: str) -> Mapping[str, tuple[Tool, Any]]:
  """With their schemas checked, which takes longer than most episodes."""
  return {spec.name: (given_tool(spec, run), run) for spec, run in records.tools(domain)}


def _written(table: CopiedOnUse, key: str) -> str | None:
  """A row as upstream writes it into the hash that it compares."""
  return json.dumps(table[key].model_dump(), sort_keys=True, default=str) if key in table else None


def _run_coroutine(run: Any, arguments: Mapping[str, Any]) -> str:
  """The tools are coroutines that wait for nothing, and need no event loop."""
  try:
    run(**arguments).send(None)
  except StopIteration as finished:
    return finished.value
  raise RuntimeError(f"the tool {run} waits for something, and there is nothing to wait for here")


def _name_bills(toolkit: TelecomAgentTools) -> None:
  """A new bill's id is random upstream; here it counts."""
  for number, bill in enumerate(toolkit.db.bills):
    if _RANDOM_BILL.fullmatch(bill.bill_id):
      customer = toolkit.get_customer_by_id(bill.customer_id)
      customer.bill_ids[customer.bill_ids.index(bill.bill_id)] = f"BNEW{number}"
      bill.bill_id = f"BNEW{number}"
