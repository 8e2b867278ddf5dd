"""Questions in words over the databases of `tools/databases.py`, each with the SQL that answers it in either engine.

A template draws its values from the database and gives a `Query`. Difficulty 1 filters one table, 2 groups and
aggregates, 3 joins.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MONTHS = (
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
  "December",
)  # fmt: skip
_ORIGINS = ("EWR", "JFK", "LGA")


@dataclasses.dataclass(frozen=True)
class Query:
  """A question and its SQL, whose first value of the first row is the answer.

  Attributes:
    question: in words.
    sql: for both engines. Where it orders, it gives two rows, and the question is asked only if they differ in `n`.
    decimals: of a number that is not whole; None for a whole number or words.
  """

  question: str
  sql: str
  decimals: int | None = None


# Gives the values of one column, for a template to choose from.
Values = Callable[[str], Sequence[Any]]
Template = Callable[[random.Random, Values], Query]


def _pick(rng: random.Random, values: Values, sql: str) -> Any:
  return rng.choice(values(sql))


def _text(value: str) -> str:
  """As an SQL literal."""
  return "'" + value.replace("'", "''") + "'"


_DESTS = "SELECT dest FROM flights GROUP BY dest HAVING count(*) > 300 ORDER BY dest"
_CARRIERS = "SELECT carrier FROM flights GROUP BY carrier HAVING count(*) > 300 ORDER BY carrier"
_AIRLINES = "SELECT name FROM airlines ORDER BY name"
_MAKERS = "SELECT manufacturer FROM planes GROUP BY manufacturer HAVING count(*) > 5 ORDER BY manufacturer"
_FIELDS = (
  "SELECT name FROM airports WHERE faa IN (SELECT dest FROM flights) GROUP BY name HAVING count(*) = 1 ORDER BY name"
)
_CODES = "SELECT faa FROM airports ORDER BY faa"
_TAILS = "SELECT tailnum FROM planes ORDER BY tailnum"


# ---- flights ----------------------------------------------------------------------------------------------------


def _listed(rng: random.Random, values: Values) -> Query:
  carrier, dest, month = _pick(rng, values, _CARRIERS), _pick(rng, values, _DESTS), rng.randrange(12)
  return Query(
    f"How many flights of the carrier {carrier} to {dest} does the table list in {MONTHS[month]}?",
    f"SELECT count(*) FROM flights WHERE carrier = '{carrier}' AND dest = '{dest}' AND month = {month + 1}",
  )


def _late(rng: random.Random, values: Values) -> Query:
  dest, minutes = _pick(rng, values, _DESTS), rng.randrange(20, 200, 5)
  return Query(
    f"How many flights to {dest} departed more than {minutes} minutes late?",
    f"SELECT count(*) FROM flights WHERE dest = '{dest}' AND dep_delay > {minutes}",
  )


def _altitude(rng: random.Random, values: Values) -> Query:
  code = _pick(rng, values, _CODES)
  return Query(f"What is the altitude (alt) of the airport {code}?", f"SELECT alt FROM airports WHERE faa = '{code}'")


def _seats(rng: random.Random, values: Values) -> Query:
  tail = _pick(rng, values, _TAILS)
  return Query(f"How many seats has the plane {tail}?", f"SELECT seats FROM planes WHERE tailnum = '{tail}'")


def _average_delay(rng: random.Random, values: Values) -> Query:
  carrier, dest = _pick(rng, values, _CARRIERS), _pick(rng, values, _DESTS)
  column, words = rng.choice(
    [("arr_delay", "arrival delay"), ("dep_delay", "departure delay"), ("air_time", "air time")]
  )
  return Query(
    f"What is the average {words} in minutes of the flights of the carrier {carrier} to {dest}?",
    f"SELECT avg({column}) FROM flights WHERE carrier = '{carrier}' AND dest = '{dest}'",
    decimals=2,
  )


def _top_carrier(rng: random.Random, values: Values) -> Query:
  dest, origin = _pick(rng, values, _DESTS), rng.choice(_ORIGINS)
  return Query(
    f"Which carrier (its code) has the most flights from {origin} to {dest}?",
    f"SELECT carrier, count(*) AS n FROM flights WHERE dest = '{dest}' AND origin = '{origin}' "
    "GROUP BY carrier ORDER BY n DESC, carrier LIMIT 2",
  )


def _worst_month(rng: random.Random, values: Values) -> Query:
  dest = _pick(rng, values, _DESTS)
  return Query(
    f"In which month (1 to 12) was the average departure delay of the flights to {dest} the highest?",
    f"SELECT month, avg(dep_delay) AS n FROM flights WHERE dest = '{dest}' AND dep_delay IS NOT NULL "
    "GROUP BY month ORDER BY n DESC, month LIMIT 2",
  )


def _weather(rng: random.Random, values: Values) -> Query:
  del values
  origin, month = rng.choice(_ORIGINS), rng.randrange(12)
  column, words = rng.choice([("temp", "temperature"), ("humid", "humidity"), ("wind_speed", "wind speed")])
  least = rng.choice([6, 8, 10, 12])
  return Query(
    f"What was the average {words} at {origin} in {MONTHS[month]}, over the hours from {least} on?",
    f"SELECT avg({column}) FROM weather WHERE origin = '{origin}' AND month = {month + 1} AND hour >= {least}",
    decimals=2,
  )


def _reached(rng: random.Random, values: Values) -> Query:
  carrier, month = _pick(rng, values, _CARRIERS), rng.randrange(12)
  return Query(
    f"To how many different destinations does the carrier {carrier} have flights in {MONTHS[month]}?",
    f"SELECT count(DISTINCT dest) FROM flights WHERE carrier = '{carrier}' AND month = {month + 1}",
  )


def _by_names(rng: random.Random, values: Values) -> Query:
  airline, field = _pick(rng, values, _AIRLINES), _pick(rng, values, _FIELDS)
  return Query(
    f"How many flights of the airline {airline} go to the airport with the name {field}?",
    "SELECT count(*) FROM flights JOIN airlines ON flights.carrier = airlines.carrier "
    f"JOIN airports ON flights.dest = airports.faa WHERE airlines.name = {_text(airline)} "
    f"AND airports.name = {_text(field)}",
  )


def _on_planes(rng: random.Random, values: Values) -> Query:
  maker, dest = _pick(rng, values, _MAKERS), _pick(rng, values, _DESTS)
  return Query(
    f"How many flights to {dest} were flown with planes made by {maker} (manufacturer)?",
    "SELECT count(*) FROM flights JOIN planes ON flights.tailnum = planes.tailnum "
    f"WHERE flights.dest = '{dest}' AND planes.manufacturer = {_text(maker)}",
  )


def _seats_flown(rng: random.Random, values: Values) -> Query:
  airline, dest = _pick(rng, values, _AIRLINES), _pick(rng, values, _DESTS)
  return Query(
    f"What is the average number of seats of the planes on the flights of the airline {airline} to {dest}, "
    "over the flights whose plane is known?",
    "SELECT avg(planes.seats) FROM flights JOIN planes ON flights.tailnum = planes.tailnum "
    "JOIN airlines ON flights.carrier = airlines.carrier "
    f"WHERE airlines.name = {_text(airline)} AND flights.dest = '{dest}'",
    decimals=2,
  )


def _top_model(rng: random.Random, values: Values) -> Query:
  dest, origin = _pick(rng, values, _DESTS), rng.choice(_ORIGINS)
  return Query(
    f"Which model of plane has the most flights from {origin} to {dest}?",
    "SELECT planes.model, count(*) AS n FROM flights JOIN planes ON flights.tailnum = planes.tailnum "
    f"WHERE flights.dest = '{dest}' AND flights.origin = '{origin}' "
    "GROUP BY planes.model ORDER BY n DESC, planes.model LIMIT 2",
  )


# ---- geography --------------------------------------------------------------------------------------------------

_COUNTRIES = "SELECT name FROM countries WHERE population > 0 GROUP BY name HAVING count(*) = 1 ORDER BY name"
_PEOPLED = "SELECT country FROM cities GROUP BY country HAVING count(*) > 8 ORDER BY country"
_PEOPLED_NAMES = (
  "SELECT countries.name FROM countries JOIN cities ON cities.country = countries.code "
  "GROUP BY countries.code, countries.name HAVING count(*) > 8 ORDER BY countries.name"
)
_CONTINENTS = "SELECT name FROM continents WHERE name <> 'Antarctica' ORDER BY name"


def _population(rng: random.Random, values: Values) -> Query:
  country = _pick(rng, values, _COUNTRIES)
  column, words = rng.choice([("population", "population"), ("area_km2", "area in square kilometres")])
  return Query(
    f"What is the {words} of {country}?",
    f"SELECT {column} FROM countries WHERE name = {_text(country)}",
  )


def _big_cities(rng: random.Random, values: Values) -> Query:
  code, least = _pick(rng, values, _PEOPLED), rng.randrange(20, 300, 10) * 1000
  return Query(
    f"How many cities with more than {least} people are in the country with the code {code}?",
    f"SELECT count(*) FROM cities WHERE country = '{code}' AND population > {least}",
  )


def _mean_city(rng: random.Random, values: Values) -> Query:
  code, least = _pick(rng, values, _PEOPLED), rng.randrange(20, 60, 5) * 1000
  return Query(
    f"What is the average population of the cities with at least {least} people in the country with the code {code}?",
    f"SELECT avg(population) FROM cities WHERE country = '{code}' AND population >= {least}",
    decimals=2,
  )


def _biggest(rng: random.Random, values: Values) -> Query:
  code = _pick(rng, values, _PEOPLED)
  way, words = rng.choice(
    [("latitude DESC", "northernmost"), ("latitude", "southernmost"), ("longitude DESC", "easternmost")]
  )
  return Query(
    f"Which city is the {words} of those in the country with the code {code}?",
    f"SELECT name, {way.split()[0]} AS n FROM cities WHERE country = '{code}' ORDER BY {way}, name LIMIT 2",
  )


def _zones(rng: random.Random, values: Values) -> Query:
  code, least = _pick(rng, values, _PEOPLED), rng.randrange(2, 6)
  return Query(
    f"How many time zones have at least {least} cities in the country with the code {code}?",
    "SELECT count(*) FROM (SELECT timezone FROM cities "
    f"WHERE country = '{code}' GROUP BY timezone HAVING count(*) >= {least}) AS zones",
  )


def _cities_of(rng: random.Random, values: Values) -> Query:
  country, least = _pick(rng, values, _PEOPLED_NAMES), rng.randrange(20, 200, 5) * 1000
  return Query(
    f"What is the total population of the cities of {country} that have more than {least} people each?",
    "SELECT sum(cities.population) FROM cities JOIN countries ON cities.country = countries.code "
    f"WHERE countries.name = {_text(country)} AND cities.population > {least}",
  )


def _most_cities(rng: random.Random, values: Values) -> Query:
  continent, least = _pick(rng, values, _CONTINENTS), rng.randrange(20, 900, 10) * 1000
  return Query(
    f"Which country of the continent {continent} has the most cities with more than {least} people?",
    "SELECT countries.name, count(*) AS n FROM cities JOIN countries ON cities.country = countries.code "
    f"JOIN continents ON countries.continent = continents.code WHERE continents.name = '{continent}' "
    f"AND cities.population > {least} GROUP BY countries.name ORDER BY n DESC, countries.name LIMIT 2",
  )


def _countries_with(rng: random.Random, values: Values) -> Query:
  continent, least, count = _pick(rng, values, _CONTINENTS), rng.randrange(50, 900, 50) * 1000, rng.randrange(2, 9)
  return Query(
    f"How many countries of the continent {continent} have at least {count} cities with more than {least} people?",
    "SELECT count(*) FROM (SELECT countries.code FROM cities JOIN countries ON cities.country = countries.code "
    f"JOIN continents ON countries.continent = continents.code WHERE continents.name = '{continent}' "
    f"AND cities.population > {least} GROUP BY countries.code HAVING count(*) >= {count}) AS found",
  )


# Database to difficulty to templates.
TEMPLATES: Mapping[str, Mapping[int, Sequence[Template]]] = {
  "flights": {
    1: (_listed, _late, _altitude, _seats),
    2: (_average_delay, _top_carrier, _worst_month, _weather, _reached),
    3: (_by_names, _on_planes, _seats_flown, _top_model),
  },
  "geography": {
    1: (_population, _big_cities),
    2: (_mean_city, _biggest, _zones),
    3: (_cities_of, _most_cities, _countries_with),
  },
}
