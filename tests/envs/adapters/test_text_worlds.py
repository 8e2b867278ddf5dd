"""What the families of text games owe alike: pure tasks, disjoint splits, errors that say what to do."""

import json

import pytest

from agentrl.envs import families
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import traces

LAST = 2**31 - 1


def same_game(task):
  """What two tasks share when they are the same game."""
  return json.dumps({key: value for key, value in task.data.items() if key not in ("steps", "tool")}, sort_keys=True)


@pytest.fixture(params=["alfworld", "scienceworld", "textworld", "textworld_express"])
def family(request):
  try:
    return families.load(request.param)
  except ModuleNotFoundError as error:
    pytest.skip(str(error))


@pytest.fixture
def name(family):
  return family.__name__.split(".")[-1]


def test_tasks_are_pure_json_and_named(family, name):
  ids = set()
  for index in (*range(40), LAST):
    task = family.generate(index, split="train")
    assert task == family.generate(index, split="train")
    assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
    assert (task.family, task.difficulty) == (name, 1)
    ids.add(task.id)
  assert len(ids) == 41


def test_splits_share_no_game_and_seeds_differ(family):
  games = {
    split: {same_game(family.generate(n, split=split, seed=seed)) for seed in (0, 1) for n in range(300)}
    for split in ("train", "held_out")
  }
  assert not games["train"] & games["held_out"]
  assert min(map(len, games.values())) > 200
  first, second = ([same_game(family.generate(n, split="train", seed=seed)) for n in range(40)] for seed in (0, 1))
  assert first != second


def test_options_reach_the_task(family):
  task = family.generate(3, split="held_out", steps=7, tool=True, show_commands=True, graded=False)
  assert (task.data["steps"], task.data["tool"], task.data["show_commands"], task.data["graded"]) == (
    7,
    True,
    True,
    False,
  )
  assert "7 commands" in task.question


def test_a_game_may_be_chosen(family):
  kinds = {family.generate(n, split="train").data["game"] for n in range(30)}
  assert len(kinds) >= 4
  for kind in kinds:
    assert {family.generate(n, split="train", game=kind).data["game"] for n in range(5)} == {kind}


def test_wrong_arguments_are_errors(family, name):
  with pytest.raises(ValueError, match="no split is called 'test'"):
    family.generate(0, split="test")
  with pytest.raises(ValueError, match=f"{name} has difficulties 1 (to|and) ., not 4"):
    family.generate(0, split="train", difficulty=4)
  with pytest.raises(ValueError, match=f"{name} has no game 'chess'; known: all, "):
    family.generate(0, split="train", game="chess")
  with pytest.raises(TypeError):
    family.generate(0, split="train", moves=3)


def test_an_environment_that_never_started_can_be_closed(family):
  try:
    environment = family.environment(Setting())
  except FileNotFoundError as error:
    pytest.skip(str(error))
  assert environment.tools == ()
  with pytest.raises(RuntimeError, match="outside an episode"):
    environment.step(traces.answer("look"))
  environment.close()
