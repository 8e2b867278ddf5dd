"""Three small apps of one person, wallet, notes and contacts: nine calls that read and change one state, and docs.

A state is flat, and says of everything that there is what it is: `{"balance": 240, "account ana": "koru",
"note rent": "45", "sent koru": 12, "billed koru": 30}`. A call that cannot be done changes nothing, and says in a word
or two why.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Toolset
from agentrl.types import Task

BALANCE = "balance"
APPS: Mapping[str, tuple[str, ...]] = {
  "contacts": ("find", "save", "forget"),
  "notes": ("read", "write", "drop"),
  "wallet": ("balance", "pay", "bill"),
}  # and what they can do; `docs` belongs to none
_DOCS = {"contacts": "find(name)=account", "notes": "read(note)=text", "wallet": "balance()=money"}  # what calls give


class Apps(Toolset):
  """The apps of an episode.

  Args:
    start: the state that they are in at first; `reset` takes that of the task, data["start"].
  """

  def __init__(self, start: Mapping[str, str | int] | None = None):
    self._state = dict(start or {BALANCE: 0})

  def reset(self, task: Task, seed: int) -> None:
    """Takes the task's state; not a tool."""
    del seed
    self._state = dict(task.data["start"])

  @property
  def state(self) -> dict[str, str | int]:
    """A copy of the state; not a tool."""
    return dict(self._state)

  def find(self, name: str) -> str:
    """Gives the account of a contact."""
    return str(self._known("account", name, "nobody"))

  def save(self, name: str, account: str) -> str:
    """Adds a contact with a new name."""
    return self._add("account", name, account)

  def forget(self, name: str) -> str:
    """Removes a contact."""
    return self._remove("account", name, "nobody")

  def read(self, note: str) -> str:
    """Gives the text of a note."""
    return str(self._known("note", note, "no note"))

  def write(self, note: str, text: str) -> str:
    """Adds a note with a new title."""
    return self._add("note", note, text)

  def drop(self, note: str) -> str:
    """Removes a note."""
    return self._remove("note", note, "no note")

  def balance(self) -> str:
    """Gives the money that is there."""
    return str(self._state[BALANCE])

  def pay(self, account: str, amount: int) -> str:
    """Sends money to a contact, by his account."""
    self._check(account, amount)
    if amount > self._state[BALANCE]:
      raise ToolArgumentError("too little")
    self._state[BALANCE] -= amount
    return self._count("sent", account, amount)

  def bill(self, account: str, amount: int) -> str:
    """Asks a contact for money, by his account."""
    self._check(account, amount)
    return self._count("billed", account, amount)

  def docs(self, app: str) -> str:
    """Says what the calls of an app give: of contacts, notes or wallet."""
    if app not in _DOCS:
      raise ToolArgumentError("no app")
    return _DOCS[app]

  def _known(self, kind: str, name: str, absent: str) -> str | int:
    if f"{kind} {name}" not in self._state:
      raise ToolArgumentError(absent)
    return self._state[f"{kind} {name}"]

  def _add(self, kind: str, name: str, value: str) -> str:
    if not name or not value:
      raise ToolArgumentError("empty")
    if f"{kind} {name}" in self._state:
      raise ToolArgumentError("taken")
    self._state[f"{kind} {name}"] = value
    return "ok"

  def _remove(self, kind: str, name: str, absent: str) -> str:
    self._known(kind, name, absent)
    del self._state[f"{kind} {name}"]
    return "ok"

  def _check(self, account: str, amount: int) -> None:
    if account not in [value for name, value in self._state.items() if name.startswith("account ")]:
      raise ToolArgumentError("nobody")
    if amount < 1:
      raise ToolArgumentError("no amount")

  def _count(self, kind: str, account: str, amount: int) -> str:
    self._state[f"{kind} {account}"] = self._state.get(f"{kind} {account}", 0) + amount
    return "ok"
