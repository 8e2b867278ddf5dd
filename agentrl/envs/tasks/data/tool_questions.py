"""Questions over typed tools, and where they come from.

A source makes a question of a form from the tools of a world; what they are stands in `toolworld.py`.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from agentrl.envs.tasks.data import tool_pool
from agentrl.envs.tasks.data.tool_pool import COUNT, TYPES, Call, Definition, Derived

_DRAWS = 20_000


@dataclasses.dataclass(frozen=True)
class Question:
  """What is given and asked, with one way to answer.

  Attributes:
    tools: those that may be called, in the order of the prompt.
    given: a value by its type.
    addends: two numbers, whose sum a `COUNT` takes.
    wanted: types.
    derived: of each wanted type the value that counts as right; none where there is no answer.
    stratum: see `Task`.
  """

  tools: tuple[Definition, ...]
  given: Mapping[str, str]
  addends: tuple[int, int]
  wanted: tuple[str, ...]
  derived: tuple[Derived, ...]
  stratum: str

  @property
  def text(self) -> str:
    """The question in words."""
    values = [f"{kind}{value}" for kind, value in self.given.items()]
    count = [f"{COUNT}{self.addends[0]}+{self.addends[1]}"] if any(COUNT in tool.inputs for tool in self.tools) else []
    return f"{' '.join([*values, *count, *self.wanted])}?"

  @property
  def calls(self) -> tuple[Call, ...]:
    """Those of the way to the answer."""
    return tool_pool.joined(self.derived)


class Form(NamedTuple):
  """What a question looks like.

  Attributes:
    types: of values, in the world.
    offered: tools.
    wanted: values.
    calls: that the answer takes.
    at_once: no call takes the result of another.
  """

  types: int
  offered: int
  wanted: int
  calls: int
  at_once: bool

  def fits(self, answer: Sequence[Derived], given: Mapping[str, str]) -> bool:
    """Whether an answer takes as many calls as it should, and stands not in the question by chance."""
    is_flat = all(len(derived.calls) == 1 for derived in answer)
    told = {derived.value for derived in answer} & set(given.values())
    return len(tool_pool.joined(answer)) == self.calls and (is_flat or not self.at_once) and not told


def _traced(known: Sequence[Definition], rng: random.Random, *, form: Form, salt: str) -> Question:
  """A question whose wanted values have one way each."""
  for _ in range(_DRAWS):
    run = _run(known, rng, form)
    made = {tool.output for tool in run}
    taken = {kind for tool in run for kind in tool.inputs} - {COUNT}
    if len(run) < form.calls or len(made - taken) != form.wanted:
      continue
    given, addends = _values(rng, form, needed=taken - made, never=made)
    others = rng.sample([tool for tool in known if tool not in run], form.offered - len(run))
    tools = tuple(rng.sample([*run, *others], form.offered))
    ways, kinds = tool_pool.derivations(tools, given, sum(addends), salt), tuple(sorted(made - taken))
    if all(len(ways[kind]) == 1 for kind in kinds) and form.fits(
      answer := tuple(ways[kind][0] for kind in kinds), given
    ):
      return Question(tools, given, addends, kinds, answer, f"{form.calls}_calls")
  raise _no_task(form)


def _run(known: Sequence[Definition], rng: random.Random, form: Form) -> list[Definition]:
  """Tools that give what is wanted, and tools that give what those take; as many as there can be, one for each type."""
  run: list[Definition] = []
  while len(run) < form.calls:
    made, taken = {tool.output for tool in run}, {kind for tool in run for kind in tool.inputs}
    due = [t for t in known if t.output not in made and (len(run) < form.wanted or t.output in taken)]
    if not due:
      break
    run.append(rng.choice(due))
  return run


def _queried(known: Sequence[Definition], rng: random.Random, *, form: Form, salt: str) -> Question:
  """A question as it comes: its answer is the shortest way, be there others, or "none"; a quarter have no answer."""
  answerable = rng.random() >= 0.25
  for _ in range(_DRAWS):
    tools, (given, addends) = tuple(rng.sample(known, form.offered)), _values(rng, form, needed=set(), never=set())
    ways = tool_pool.derivations(tools, given, sum(addends), salt)
    asked = [kind for kind in TYPES[: form.types] if kind not in given]
    kinds = tuple(sorted(rng.sample(asked, min(form.wanted, len(asked)))))
    shortest = tuple(min(ways[kind], key=lambda way: len(way.calls)) for kind in kinds if ways[kind])
    if not answerable and not shortest:
      return Question(tools, given, addends, kinds, (), "unanswerable")
    if answerable and len(shortest) == form.wanted and form.fits(shortest, given):
      is_ambiguous = any(len(ways[kind]) > 1 for kind in kinds)
      return Question(tools, given, addends, kinds, shortest, "ambiguous" if is_ambiguous else f"{form.calls}_calls")
  raise _no_task(form)


# (tools of the world, random numbers, *, form, salt) -> a question.
SOURCES: Mapping[str, Callable[..., Question]] = {"trace": _traced, "query": _queried}


def _values(
  rng: random.Random, form: Form, *, needed: Set[str], never: Set[str]
) -> tuple[dict[str, str], tuple[int, int]]:
  """Values of the types that are needed and of one or two others, but never of some; and two numbers."""
  others = [kind for kind in TYPES[: form.types] if kind not in needed | never]
  more = rng.sample(others, min(rng.randint(1, 2), len(others)))
  values = {kind: str(rng.randrange(100, 1000)) for kind in sorted([*needed, *more])}
  return values, (rng.randrange(1, 5), rng.randrange(1, 5))


def content(question: Question) -> str:
  """What makes a question the same as another: its words and its tools."""
  return repr((question.text, sorted(tool.name for tool in question.tools)))


def _no_task(form: Form) -> ValueError:
  return ValueError(
    f"toolworld: {_DRAWS} draws gave no question of the {form}: offer fewer tools, or have more types or a larger pool"
  )
