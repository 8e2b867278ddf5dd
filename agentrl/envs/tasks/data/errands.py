"""Errands in three small apps: what each says, the calls that run it, and what is told of them at the end.

What an errand needs is drawn so that no two errands of a request need the same person, note or account. The apps
themselves are `agentrl/envs/tools/apps.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentrl.envs.tools.apps import BALANCE

NAMES = (
  "ana", "ben", "cleo", "dan", "eva", "finn", "gus", "hana", "ivo", "jan", "kim", "leo",
  "mia", "nils", "olga", "pia",
)  # fmt: skip
TITLES = (
  "rent", "fuel", "milk", "taxi", "gift", "wine", "food", "shoes", "lamp", "tools", "books", "club",
)  # fmt: skip
ACCOUNTS = (
  "koru", "baro", "delu", "fimo", "gati", "hesu", "jola", "kemi", "lavo", "mire",
  "nupo", "pesa", "quvi", "rado", "sipe", "tuga", "vora", "wela", "xino", "zubi",
)  # fmt: skip
_HELD = 4  # contacts, and notes, that there are at first
_SUMS = (10, 60)
_BALANCES = (200, 400)  # above what three errands can send


class Call(NamedTuple):
  """A call of an app, by the name of what it does."""

  name: str
  arguments: Mapping[str, str | int]


class Errand(NamedTuple):
  """One thing to do.

  Attributes:
    says: how it is asked for.
    calls: that do it, in this order.
    tells: what the answer has to say of it; empty for nothing.
  """

  says: str
  calls: tuple[Call, ...]
  tells: str = ""


class World:
  """A state at first, and what in it no errand has used yet.

  Args:
    rng: which one.

  Attributes:
    state: as of `Apps`.
    balance: what is left of it behind the errands so far.
    people: names of contacts, each once.
    strangers: names of nobody.
    notes: titles of notes.
    titles: of none.
    accounts: that nobody has.
  """

  def __init__(self, rng: random.Random):
    names, titles, accounts = (rng.sample(words, len(words)) for words in (NAMES, TITLES, ACCOUNTS))
    self.balance = rng.randrange(*_BALANCES)
    self.state: dict[str, str | int] = {BALANCE: self.balance}
    self.state |= {f"account {name}": account for name, account in zip(names[:_HELD], accounts, strict=False)}
    self.state |= {f"note {title}": str(rng.randrange(*_SUMS)) for title in titles[:_HELD]}
    self.people, self.strangers = iter(names[:_HELD]), iter(names[_HELD:])
    self.notes, self.titles = iter(titles[:_HELD]), iter(titles[_HELD:])
    self.accounts = iter(accounts[_HELD:])
    self._rng = rng

  def amount(self) -> int:
    """Money for one errand."""
    return self._rng.randrange(*_SUMS)

  def account_of(self, name: str) -> str:
    """That of a contact."""
    return str(self.state[f"account {name}"])

  def text_of(self, title: str) -> str:
    """That of a note."""
    return str(self.state[f"note {title}"])


# ---- errands: a world -> what is to be done in it ------------------------------------------------------------------


def _pay(world: World) -> Errand:
  name, amount = next(world.people), world.amount()
  world.balance -= amount
  return Errand(
    f"pay {name} {amount}", (_find(name), Call("pay", {"account": world.account_of(name), "amount": amount}))
  )


def _bill(world: World) -> Errand:
  name, amount = next(world.people), world.amount()
  return Errand(
    f"bill {name} {amount}", (_find(name), Call("bill", {"account": world.account_of(name), "amount": amount}))
  )


def _settle(world: World) -> Errand:
  name, title = next(world.people), next(world.notes)
  amount = int(world.text_of(title))
  world.balance -= amount
  payment = Call("pay", {"account": world.account_of(name), "amount": amount})
  return Errand(f"settle {title} with {name}", (_read(title), _find(name), payment))


def _jot(world: World) -> Errand:
  name, title = next(world.people), next(world.titles)
  return Errand(f"jot {name} in {title}", (_find(name), Call("write", {"note": title, "text": world.account_of(name)})))


def _move(world: World) -> Errand:
  old, new = next(world.notes), next(world.titles)
  copied = Call("write", {"note": new, "text": world.text_of(old)})
  return Errand(f"move {old} to {new}", (_read(old), copied, Call("drop", {"note": old})))


def _drop(world: World) -> Errand:
  title = next(world.notes)
  return Errand(f"drop {title}", (Call("drop", {"note": title}),))


def _save(world: World) -> Errand:
  name, account = next(world.strangers), next(world.accounts)
  return Errand(f"save {name} as {account}", (Call("save", {"name": name, "account": account}),))


def _forget(world: World) -> Errand:
  name = next(world.people)
  return Errand(f"forget {name}", (Call("forget", {"name": name}),))


def _rename(world: World) -> Errand:
  old, new = next(world.people), next(world.strangers)
  copied = Call("save", {"name": new, "account": world.account_of(old)})
  return Errand(f"rename {old} to {new}", (_find(old), copied, Call("forget", {"name": old})))


def _count(world: World) -> Errand:
  title = next(world.titles)
  return Errand(f"count in {title}", (Call("balance", {}), Call("write", {"note": title, "text": str(world.balance)})))


def _who(world: World) -> Errand:
  name = next(world.people)
  return Errand(f"tell {name}", (_find(name),), tells=world.account_of(name))


def _what(world: World) -> Errand:
  title = next(world.notes)
  return Errand(f"tell {title}", (_read(title),), tells=world.text_of(title))


def _find(name: str) -> Call:
  return Call("find", {"name": name})


def _read(title: str) -> Call:
  return Call("read", {"note": title})


ERRANDS: Mapping[str, Callable[[World], Errand]] = {
  "pay": _pay,
  "bill": _bill,
  "settle": _settle,
  "jot": _jot,
  "move": _move,
  "drop": _drop,
  "save": _save,
  "forget": _forget,
  "rename": _rename,
  "count": _count,
  "who": _who,
  "what": _what,
}
CALLS = {name: len(errand(World(random.Random(0))).calls) for name, errand in ERRANDS.items()}  # in every world
