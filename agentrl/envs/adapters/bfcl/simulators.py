"""Upstream's simulators of one episode, called by the names of their methods."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bfcl_eval.constants.executable_backend_config import CLASS_FILE_PATH_MAPPING, STATELESS_CLASSES

# A call: the function's name, positional arguments, keyword arguments.
Call = tuple[str, Sequence[Any], Mapping[str, Any]]


class Simulators:
  """A fresh set in its initial state.

  Args:
    names: of the classes, such as "TicketAPI".
    initial: class name to what it starts from.
    long_context: they pad what they say with thousands of further items.
  """

  def __init__(self, names: Sequence[str], initial: Mapping[str, Any], *, long_context: bool):
    self._instances: dict[str, Any] = {}
    for name in names:
      instance = getattr(importlib.import_module(CLASS_FILE_PATH_MAPPING[name]), name)()
      if name not in STATELESS_CLASSES:
        instance._load_scenario(copy.deepcopy(initial.get(name, {})), long_context=long_context)
      self._instances[name] = instance

  def method(self, name: str) -> Any:
    """The method of a name, of the last simulator that has it.

    Raises:
      LookupError: none has it.
    """
    for instance in reversed(self._instances.values()):
      if not name.startswith("_") and inspect.ismethod(getattr(instance, name, None)):
        return getattr(instance, name)
    raise LookupError(f"no simulator of {', '.join(self._instances)} has a method {name!r}")

  def by_keyword(self, call: Call) -> dict[str, Any]:
    """Arguments of a call, all of them by name."""
    name, positional, keyword = call
    return dict(inspect.signature(self.method(name)).bind(*positional, **keyword).arguments)

  def outcome(self, call: Call) -> tuple[str, Exception | None]:
    """Runs a call; what it gave, as upstream writes it for its comparison, and the exception that it raised.

    It is written here and now: digits of `mpmath` numbers depend on a precision that the next call may change.
    """
    name, positional, keyword = call
    try:
      return _written(self.method(name)(*positional, **keyword)), None
    except Exception as error:  # a simulator's failure is the tool's
      return f"Error during execution: {error}", error

  def same_state(self, others: Simulators) -> bool:
    """Whether every public attribute of every simulator is equal."""
    return all(_public(instance) == _public(others._instances[name]) for name, instance in self._instances.items())


def parse_call(text: str) -> Call:
  """A gold call, which is Python source: "sort('final.pdf')"."""
  tree = ast.parse(text, mode="eval").body
  if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
    raise ValueError(f"{text!r} is no call of a function")
  keyword = {part.arg: ast.literal_eval(part.value) for part in tree.keywords if part.arg is not None}
  return tree.func.id, [ast.literal_eval(part) for part in tree.args], keyword


def _public(instance: Any) -> dict[str, Any]:
  return dict(_public_items(instance))


def _public_items(instance: Any) -> Iterator[tuple[str, Any]]:
  return ((name, value) for name, value in vars(instance).items() if not name.startswith("_"))


def _written(value: Any) -> str:
  if isinstance(value, dict):
    try:
      return json.dumps(value)
    except (TypeError, ValueError):  # Decimal and mpf have no JSON, and upstream then takes Python's form
      return str(value)
  return str(value)
