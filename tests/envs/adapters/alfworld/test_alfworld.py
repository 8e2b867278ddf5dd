"""Our plans against ALFWorld's rules, its planner against our households, and what a household has to be."""

import importlib.util
import os
import subprocess
import sys

import pytest

if importlib.util.find_spec("alfworld") is None:  # importing it would make a folder in the user's home
  pytest.skip("needs agentrl[alfworld]", allow_module_level=True)
pytest.importorskip("fast_downward", reason="needs agentrl[alfworld]")
pytest.importorskip("textworld", reason="needs agentrl[alfworld]")

from agentrl.envs.adapters import alfworld as world
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import traces
from agentrl.envs.tool import ToolLimits

PATIENT = Setting(limits=ToolLimits(call_seconds=60))


def play(task):
  """The oracle's game: its first message and its observations."""
  environment = world.environment(PATIENT)
  try:
    (first,) = environment.reset(task, 0)
    return first.content, [environment.step(action) for action in world.oracle(task)]
  finally:
    environment.close()


def assert_won(task):
  first, observations = play(task)
  assert f"Your task is to: {task.data['house']['words']}." in first
  assert all(observation.ok for observation in observations)
  assert [observation.done for observation in observations] == [False] * (len(observations) - 1) + [True]
  assert observations[-1].parts == {"correct": 1.0, "score": 1.0}


@pytest.mark.parametrize("game", world.QUESTS)
def test_each_type_of_task_is_won_by_its_plan(game):
  assert_won(world.generate(0, split="train", game=game, tool=game == "look", show_commands=game == "heat"))


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("difficulty", [1, 2, 3])
@pytest.mark.parametrize("game", world.QUESTS)
def test_each_type_is_won_at_each_difficulty_in_both_splits(game, difficulty, split):
  for index in range(3):
    assert_won(world.generate(index, split=split, game=game, difficulty=difficulty))


@pytest.mark.slow
@pytest.mark.parametrize("game", [game for game in world.QUESTS if game != "two"])  # two take the planner minutes
def test_the_packages_planner_solves_our_households(game):
  for index in range(4):
    task = world.generate(index, split="train", game=game)
    engine = world.PddlEngine()
    engine.start(task, 0)
    plan = engine._state.replan(engine._entities)
    replies = [engine.send(command) for command in plan]
    engine.close()
    assert replies[-1].won
    assert len(plan) <= len(task.data["house"]["plan"])


def test_what_is_not_in_the_list_does_nothing():
  environment = world.environment(PATIENT)
  (first,) = environment.reset(world.generate(0, split="train", game="heat", show_commands=True, steps=3), 0)
  commands = first.content.rsplit("Commands: ", 1)[1].split("; ")
  assert "look" in commands
  observation = environment.step(traces.answer("open the pod bay doors"))
  assert observation.text.startswith("Nothing happens.\n\nCommands: ")
  assert not observation.ok
  observation = environment.step(traces.answer(commands[0].upper()))
  assert observation.ok
  assert environment.step(traces.answer("look")).parts == {"correct": 0.0, "score": 0.0}
  environment.close()


def test_two_households_at_once_do_not_touch_and_leave_the_process_as_it_was():
  arguments, output = sys.argv, sys.stdout
  task = world.generate(0, split="train", game="clean")
  expected = [observation.text for observation in play(task)[1]]
  first, second = world.environment(PATIENT), world.environment(PATIENT)
  first.reset(task, 0)
  second.reset(world.generate(3, split="train", game="two"), 0)
  seen = []
  for action in world.oracle(task):
    second.step(traces.answer("inventory"))
    seen.append(first.step(action).text)
  first.close()
  second.close()
  assert seen == expected
  assert sys.argv is arguments
  assert sys.stdout is output


def test_a_config_gets_the_world_with_solved_examples(make_hosted):
  source = make_hosted("alfworld", "", options={"game": "put", "tool": True}, examples=1, call_seconds=60)
  environment = source.environment()
  messages = environment.reset(source.task(0, "train"), 0)
  environment.close()
  example = world.generate(2**31 - 1, split="train", game="put")
  assert f"Your task is to: {example.data['house']['words']}." in messages[0].content
  assert [message.action.calls[0].name for message in messages if message.action] == ["act"] * len(
    world.oracle(example)
  )
  assert {message.name for message in messages if message.role == "tool"} == {"act"}


@pytest.mark.slow
def test_a_process_in_which_the_planner_ran_ends_well():
  code = """
from agentrl.envs.adapters import alfworld
for index in range(2):
  engine = alfworld.PddlEngine()
  engine.start(alfworld.generate(index, split="train", game="put"), 0)
  assert engine._state.replan(engine._entities)
  engine.close()
"""
  surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
  assert subprocess.run([sys.executable, "-c", code], env=surroundings).returncode == 0
