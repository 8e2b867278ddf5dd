"""A company that never was, for a mail archive: its people, projects, vendors and servers, and what is true of them."""

from __future__ import annotations

import dataclasses
import datetime
import random
from collections.abc import Mapping, Sequence

_FIRST = (
  "Ada Alan Amir Anna Aoife Bella Boris Carla Carlos Chloe Clara Colin Dana David Diego Dora Edith Elena Emil "
  "Erik Esther Farid Felix Fiona Frank Gerda Grace Hana Hector Hugo Ida Igor Ines Ivan Jamal Jana Jorge Julia "
  "Karim Kate Keiko Lars Laura Leo Lin Lucy Magda Marco Maria Mei Milan Nadia Nils Nora Olga Omar Oscar Paula "
  "Pavel Petra Priya Rafael Ravi Rita Rosa Ruth Samir Sara Simon Sofia Stefan Tara Theo Tomas Ursula Vera "
  "Viktor Wanda Yuki Yusuf Zoe"
)
_LAST = (
  "Abbott Acosta Almeida Andersen Arnold Baker Barros Becker Bianchi Blake Bose Brandt Byrne Castro Cheng Costa "
  "Cruz Dahl Dawson Demir Doyle Duarte Eklund Ellis Evans Farrell Fischer Flores Foster Garner Ghosh Gomez "
  "Grant Gruber Haas Hansen Harris Hayes Holm Horvat Hughes Ito Ivanov Jacobs Jensen Joshi Kaplan Keller Khan "
  "Kim Klein Kovacs Lam Larsen Lopez Lund Madsen Marsh Mendez Meyer Miller Moreau Morris Nagy Novak Nunez Olsen "
  "Ortega Osman Palmer Park Patel Pereira Quinn Ramos Reyes Rossi Russo Sato Schmidt Shah Silva Singh Soto "
  "Stein Suzuki Tanaka Torres Vargas Vogel Wagner Walsh Weber Yilmaz Young Zeller"
)
_PROJECTS = (
  "Acorn Amber Basalt Beacon Birch Cobalt Comet Coral Delta Ember Falcon Fjord Garnet Glacier Harbor Heron "
  "Indigo Juniper Kestrel Lantern Lotus Magnet Maple Meadow Nimbus Onyx Orchid Osprey Pebble Quartz Raven "
  "Saffron Sequoia Summit Tundra Umber Velvet Walnut Willow Zephyr"
)
_VENDORS = (
  "Aldgate Barlow Calder Dunmore Elsworth Fenwick Halden Inverness Kellaway Lyndhurst Marwood Northam Ockham "
  "Penrose Radley Selwyn Thornbury Ulverston Wexcombe Yardley"
)
_TRADES = "Freight Logistics Paper Systems Cabling Catering Furniture Software Consulting Printing Security Power"
_SERVERS = "arrow bison canary dingo egret ferret gopher hornet ibis jackal koala lemur marmot newt otter panda quail"
_CITIES = "Bergen Cork Dresden Geneva Ghent Leeds Lyon Malmo Porto Tampere"
_DEPARTMENTS = "Accounting Engineering Facilities Legal Operations Purchasing Research Sales"
_CAUSES = (
  "a full disk", "a faulty memory module", "an expired certificate", "a loose power cable", "a broken fan",
  "a wrong firewall rule", "a failed update", "an overheated switch",
)  # fmt: skip
START, DAYS = datetime.date(2001, 1, 8), 700


@dataclasses.dataclass(frozen=True)
class Told:
  """A value as first told and, where it changed, as told later. The last one is true."""

  values: Sequence[str]

  @property
  def true(self) -> str:
    """What holds in the end."""
    return self.values[-1]


@dataclasses.dataclass(frozen=True)
class Entity:
  """A person, project, vendor or server.

  Attributes:
    kind: one of those four.
    name: no other entity of the company has a word of it in its own name, people's first names apart.
    facts: attribute to what is told of it.
  """

  kind: str
  name: str
  facts: Mapping[str, Told]


@dataclasses.dataclass(frozen=True)
class Company:
  """Entities by kind, each in an order that means nothing."""

  people: Sequence[Entity]
  projects: Sequence[Entity]
  vendors: Sequence[Entity]
  servers: Sequence[Entity]

  def find(self, name: str) -> Entity:
    """The entity of a name."""
    return next(e for e in (*self.people, *self.projects, *self.vendors, *self.servers) if e.name == name)


def make_company(rng: random.Random, *, people: int, projects: int, vendors: int, servers: int) -> Company:
  """A company with so many of each; everything in it comes from `rng`."""
  names = _names(rng, people)
  leads = names[people // 4 :]
  extensions = rng.sample(range(2000, 9999), people)
  staff = [_person(rng, name, _above(names, place), extensions[place]) for place, name in enumerate(names)]
  works = [_project(rng, name, leads) for name in rng.sample(_PROJECTS.split(), projects)]
  trades = rng.choices(_TRADES.split(), k=vendors)
  sellers = [f"{name} {trade}" for name, trade in zip(rng.sample(_VENDORS.split(), vendors), trades, strict=True)]
  return Company(
    staff,
    works,
    [_vendor(rng, name, [work.name for work in works]) for name in sellers],
    [_server(rng, f"{name}-{rng.randint(1, 9)}", leads) for name in rng.sample(_SERVERS.split(), servers)],
  )


def day_text(day: datetime.date) -> str:
  """Such as "14 May 2001"."""
  return f"{day.day} {day:%B} {day.year}"


def _names(rng: random.Random, count: int) -> list[str]:
  firsts, lasts = rng.sample(_FIRST.split(), count), rng.sample(_LAST.split(), count)
  return [f"{first} {last}" for first, last in zip(firsts, lasts, strict=True)]


def _above(names: Sequence[str], place: int) -> Sequence[str]:
  """Who may manage the person at a place: the first quarter manages all behind it, and the first manages the second."""
  return names[: min(place, len(names) // 4)] or names[1:2]


def _person(rng: random.Random, name: str, managers: Sequence[str], extension: int) -> Entity:
  city, department = rng.choice(_CITIES.split()), rng.choice(_DEPARTMENTS.split())
  moved = [city] + ([rng.choice([other for other in _CITIES.split() if other != city])] if rng.random() < 0.25 else [])
  extensions = [str(extension)] + ([str(10_000 - extension)] if rng.random() < 0.25 else [])
  manager = rng.choice(managers)
  return Entity(
    "person",
    name,
    {
      "manager": Told([manager]),
      "department": Told([department]),
      "city": Told(moved),
      "extension": Told(extensions),
    },
  )


def _project(rng: random.Random, name: str, leads: Sequence[str]) -> Entity:
  first, second = rng.sample(leads, 2)
  budget = rng.randrange(40, 900) * 1000
  budgets = [str(budget)] + ([str(budget + rng.randrange(5, 80) * 500)] if rng.random() < 0.4 else [])
  end = START + datetime.timedelta(DAYS + rng.randrange(30, 300))
  ends = [end] + ([end + datetime.timedelta(rng.randrange(14, 120))] if rng.random() < 0.4 else [])
  return Entity(
    "project",
    name,
    {
      "lead": Told([first] + ([second] if rng.random() < 0.35 else [])),
      "budget": Told(budgets),
      "deadline": Told([day.isoformat() for day in ends]),
      "room": Told([f"{rng.choice('ABCDEF')}{rng.randrange(100, 500)}"]),
    },
  )


def _vendor(rng: random.Random, name: str, projects: Sequence[str]) -> Entity:
  amount = rng.randrange(60, 1900) * 50
  return Entity(
    "vendor",
    name,
    {
      "amount": Told([str(amount), str(amount - rng.randrange(1, 12) * 50)]),
      "contract": Told([f"C-{rng.randrange(10_000, 99_999)}"]),
      "project": Told([rng.choice(projects)]),
      "tracking": Told([f"{rng.choice('KLMNPRT')}{rng.randrange(100_000, 999_999)}"]),
      "crates": Told([str(rng.randrange(3, 60))]),
    },
  )


def _server(rng: random.Random, name: str, leads: Sequence[str]) -> Entity:
  facts = {"fixer": rng.choice(leads), "cause": rng.choice(_CAUSES), "minutes": str(rng.randrange(12, 400))}
  return Entity("server", name, {attribute: Told([value]) for attribute, value in facts.items()})
