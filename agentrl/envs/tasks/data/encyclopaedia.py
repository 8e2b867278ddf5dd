"""What can be read reliably out of an encyclopaedia's summaries: years, links, capitals, neighbours.

Each article opens with a description of one line in a fixed form, such as "English writer (1797-1851)" or "1818 novel
by Mary Shelley". A fact is taken only from such a line, or from "bordered by X to the north", where it cannot be read
in another way: names that two articles share, links to articles that are not there, neighbours named together and
offices held by two people in the same years are all left out.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

from agentrl.envs.tools.corpus import Corpus, Document, open_corpus
from agentrl.envs.tools.search import SearchLimits

# A person is one whose description has one of these words and none of a ruler, whose years may be those of a reign.
_CALLINGS = (
  "writer physicist poet painter mathematician philosopher composer activist actor filmmaker politician "
  "architect polymath author statesman inventor actress artist novelist engineer pianist psychologist chemist "
  "director theorist scientist musician singer playwright historian conductor journalist explorer photographer "
  "revolutionary songwriter theologian athlete choreographer scholar biologist physician essayist diplomat "
  "designer naturalist businessman anthropologist astronomer economist biochemist physiologist sociologist "
  "sculptor dancer navigator geologist botanist philanthropist screenwriter neurologist jurist dramatist "
  "sociologist logician microbiologist"
)
_RULERS = "king queen emperor empress sultan pope president minister ruler tsar shah caliph duke prince bishop monarch"
_LIFE = re.compile(r"([^()]+) \((\d{4})–(\d{4})\)")
_WORK = re.compile(r"(\d{4}) ([^()]+?) (?:directed by|written by|by) ([^()]+)")
_OFFICE = re.compile(
  r"((?:King|Queen|Emperor|Empress|Sultan|President|Prime Minister|Chancellor|Tsar|Shah)\b[^()]*) "
  r"from (\d{4}) to (\d{4})"
)
_ELEMENT = re.compile(r"Chemical element with atomic number (\d+)\b.*")
_CAPITAL = re.compile(r"(?:Federal )?[Cc]apital(?: city)?(?: and (?:the )?(?:largest|most populous) city)? of (.+)")
_COUNTRY = re.compile(r"(?:(?:Island|Landlocked|Transcontinental) )?[Cc]ountry\b.*")
_BORDERED = re.compile(r".*\b(?:bordered by|borders)\b ?")
_SIDE = re.compile(r" to the (north(?:east|west)?|south(?:east|west)?|east|west)\b")
MADE = {
  "novel": "wrote", "novella": "wrote", "play": "wrote", "poem": "wrote", "book": "wrote", "treatise": "wrote",
  "film": "directed", "painting": "painted", "opera": "composed", "ballet": "composed", "album": "recorded",
  "single": "recorded", "sculpture": "made",
}  # fmt: skip
_FIRST_PAGE = SearchLimits().page_chars - 200  # whatever is asked for stands there


@dataclasses.dataclass(frozen=True)
class Event:
  """Something that happened in a year.

  Attributes:
    article: title of the article that tells it.
    clause: such as "Mary Shelley was born".
    question: such as "In what year was Mary Shelley born?".
    evidence: text of the article that has the year.
  """

  article: str
  clause: str
  question: str
  year: int
  evidence: str


@dataclasses.dataclass(frozen=True)
class Link:
  """A work, and the article of the one who made it.

  Attributes:
    title: of the work.
    verb: what the maker did, such as "wrote".
    maker: title of the maker's article.
    evidence: text of the work's article that names the maker.
    only: no other article's title or description has the maker's last name, so that none is of another work.
  """

  title: str
  verb: str
  maker: str
  evidence: str
  only: bool


@dataclasses.dataclass(frozen=True)
class Graph:
  """All facts of a corpus.

  Attributes:
    events: by the title of the article.
    links: of works.
    lives: person to (born, died), where no other text has that pair of years.
    offices: "King of Prussia from 1740 to 1786" to the one person.
    elements: name to atomic number.
    capitals: country to (city, description of the city).
    neighbours: country to side to (country, evidence).
  """

  events: Mapping[str, Sequence[Event]]
  links: Sequence[Link]
  lives: Mapping[str, tuple[int, int]]
  offices: Mapping[str, str]
  elements: Mapping[str, int]
  capitals: Mapping[str, tuple[str, str]]
  neighbours: Mapping[str, Mapping[str, tuple[str, str]]]


@functools.cache
def graph_of(corpus: str) -> Graph:
  """The facts of a corpus, read once per process; takes a second or two.

  Args:
    corpus: see `open_corpus`.
  """
  return _read(open_corpus(corpus))


def description(document: Document) -> str:
  """The first line of an article."""
  return document.text.split("\n", 1)[0]


def _read(corpus: Corpus) -> Graph:
  articles = _unambiguous(corpus)
  events: dict[str, list[Event]] = collections.defaultdict(list)
  for article in articles.values():
    for make in (_life_events, _work_events, _office_events):
      events[article.title] += make(article)
  countries = {title for title, article in articles.items() if _COUNTRY.fullmatch(description(article))}
  capitals = _capitals(articles, countries)
  return Graph(
    {title: tuple(found) for title, found in events.items() if found},
    _links(corpus, articles),
    _lives(corpus, articles),
    _offices(corpus, articles),
    {title: int(m[1]) for title, m in _matches(articles, _ELEMENT)},
    capitals,
    {title: sides for title in sorted(countries) if (sides := _neighbours(articles[title], countries))},
  )


def _unambiguous(corpus: Corpus) -> dict[str, Document]:
  """The articles with a name of their own, which a search for it finds at once."""
  names = collections.Counter(re.sub(r" \(.*\)", "", document.title).casefold() for document in corpus.documents)
  return {
    document.title: document
    for document in corpus.documents
    if names[document.title.casefold()] == 1
    and "(" not in document.title
    and any(shape.fullmatch(description(document)) for shape in (_LIFE, _WORK, _OFFICE, _ELEMENT, _CAPITAL, _COUNTRY))
    and _found(corpus, f'"{document.title}"', document)
  }


def _found(corpus: Corpus, query: str, document: Document) -> bool:
  """Whether a search shows the document on its first page."""
  return document in corpus.rank(query, SearchLimits().hits)


def _matches(articles: Mapping[str, Document], shape: re.Pattern[str]) -> list[tuple[str, re.Match[str]]]:
  found = ((title, shape.fullmatch(description(article))) for title, article in articles.items())
  return [(title, match) for title, match in found if match is not None]


def _life(article: Document) -> tuple[int, int] | None:
  match = _LIFE.fullmatch(description(article))
  if match is None:
    return None
  said = set(re.findall(r"\w+", match[1].lower()))
  born, died = int(match[2]), int(match[3])
  return (
    (born, died)
    if said & set(_CALLINGS.split()) and not said & set(_RULERS.split()) and 15 < died - born < 106
    else None
  )


def _life_events(article: Document) -> list[Event]:
  life, name = _life(article), article.title
  if life is None:
    return []
  line = description(article)
  return [
    Event(name, f"{name} was born", f"In what year was {name} born?", life[0], line),
    Event(name, f"{name} died", f"In what year did {name} die?", life[1], line),
  ]


def _work(article: Document) -> re.Match[str] | None:
  match = _WORK.fullmatch(description(article))
  return match if match is not None and match[2].split()[-1] in MADE else None


def _work_events(article: Document) -> list[Event]:
  match = _work(article)
  if match is None:
    return []
  name = f"the {match[2].split()[-1]} {article.title}"
  question = f"From what year is {name}?"
  return [Event(article.title, f"{name} appeared", question, int(match[1]), description(article))]


def _office_events(article: Document) -> list[Event]:
  match = _OFFICE.fullmatch(description(article))
  if match is None:
    return []
  name, office = article.title, match[1]
  first = f"In what year did the time of {name} as {office} begin?"
  last = f"In what year did the time of {name} as {office} end?"
  return [
    Event(name, f"the time of {name} as {office} began", first, int(match[2]), description(article)),
    Event(name, f"the time of {name} as {office} ended", last, int(match[3]), description(article)),
  ]


def _links(corpus: Corpus, articles: Mapping[str, Document]) -> list[Link]:
  works = [(article, match) for article in articles.values() if (match := _work(article)) is not None]
  told = collections.Counter(
    name
    for document in corpus.documents
    for name in set(re.findall(r"\w+", f"{document.title} {description(document)}"))
  )
  links = []
  for article, match in works:
    maker = match[3]
    if maker in articles and _life(articles[maker]) is not None:
      only = told[re.findall(r"\w+", maker)[-1]] == 2  # in the maker's article and in this one
      links.append(Link(article.title, MADE[match[2].split()[-1]], maker, description(article), only))
  return links


def _lives(corpus: Corpus, articles: Mapping[str, Document]) -> dict[str, tuple[int, int]]:
  """Of people whom the two years alone identify, and a search for them finds."""
  pairs = collections.Counter(pair for document in corpus.documents for pair in _year_pairs(document.text))
  lives = ((title, article, _life(article)) for title, article in articles.items())
  return {
    title: life
    for title, article, life in lives
    if life is not None and pairs[life] == 1 and _found(corpus, f"{life[0]} {life[1]}", article)
  }


def _year_pairs(text: str) -> set[tuple[int, int]]:
  return {(int(a), int(b)) for a, b in re.findall(r"\b(\d{4})(?:–| to | and |-)(\d{4})\b", text)}


def _offices(corpus: Corpus, articles: Mapping[str, Document]) -> dict[str, str]:
  """Of those that no other article claims."""
  told = collections.Counter(description(document) for document in corpus.documents)
  return {
    match[0]: title
    for title, match in _matches(articles, _OFFICE)
    if told[match[0]] == 1 and _found(corpus, match[0], articles[title])
  }


def _capitals(articles: Mapping[str, Document], countries: set[str]) -> dict[str, tuple[str, str]]:
  """Of the countries of which a single article says that it is the capital."""
  claims: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)
  for city, match in _matches(articles, _CAPITAL):
    claims[match[1].removeprefix("the ")].append((city, match[0]))
  return {country: found[0] for country, found in sorted(claims.items()) if country in countries and len(found) == 1}


def _neighbours(article: Document, countries: set[str]) -> dict[str, tuple[str, str]]:
  """Side to the one country there; where it names two, or a sea, the side is left out."""
  found: dict[str, tuple[str, str]] = {}
  sides = collections.Counter()
  for sentence in re.split(r"(?<=[.;]) ", article.text[:_FIRST_PAGE]):
    if not re.search(r"\bborder(?:s|ed)\b", sentence):
      continue
    pieces = _SIDE.split(sentence)
    for before, side in zip(pieces[0::2], pieces[1::2], strict=False):
      country = re.sub(r"^and ", "", _BORDERED.sub("", before).strip(" ,")).strip().removeprefix("the ")
      if country in countries and country != article.title:
        found[side] = (country, f"{country} to the {side}")
    sides.update(re.findall(r"\b(?:north|south)(?:east|west)?\b|\b(?:east|west)\b", sentence))
  return {side: told for side, told in found.items() if sides[side] == 1 and told[1] in article.text[:_FIRST_PAGE]}
