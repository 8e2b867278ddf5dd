"""A game on the interpreter: its verbs, its commands, and going back."""

import pytest

pytest.importorskip("jericho", reason="needs agentrl[textworld]")
pytest.importorskip("textworld", reason="needs agentrl[textworld]")
from agentrl.envs.adapters import textworld as world
from agentrl.envs.adapters.textworld import games as files
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import traces
from agentrl.envs.tool import ToolLimits

PATIENT = Setting(limits=ToolLimits(call_seconds=60))


def opened(task):
  environment = world.environment(PATIENT)
  environment.opening = environment.reset(task, 0)[-1].content
  return environment


def test_commands_that_are_listed_follow_the_game(task):
  environment = opened(task)
  *way, last = world.oracle(task)
  for action in way:
    observation = environment.step(action)
  assert last.answer == "take coin"
  assert "take coin" in observation.text.rsplit("Commands: ")[1].split("; ")
  assert "take coin" not in environment.opening.rsplit("Commands: ")[1].split("; ")
  environment.close()


@pytest.mark.parametrize(
  "command", ["save", "script", "restart", "quit", "tw-print player", "look. look", "look then look"]
)
def test_the_interpreters_own_verbs_are_kept_from_it(task, command, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  environment = opened(task)
  observation = environment.step(traces.answer(command))
  assert observation.text.startswith("That is no command of this game. Its verbs: ")
  assert not observation.ok
  assert environment.step(traces.answer("look")).ok
  environment.close()
  assert not list(tmp_path.iterdir())
  folder = files.game_folder(task.data["recipe"])
  assert {path.name for path in folder.iterdir()} == {"game.z8", "game.json"}


def test_what_the_game_does_not_understand_is_told(task):
  environment = opened(task)
  for command in ("take moon", "go through the wall", "x \u4e16\x00"):
    assert not environment.step(traces.answer(command)).ok
  environment.close()


def test_going_back_is_as_if_the_rest_had_not_happened(task):
  first, *rest = world.oracle(task)
  environment = opened(task)
  environment.step(first)
  snapshot = environment.snapshot()
  expected = [environment.step(action) for action in rest]
  assert expected[-1].done
  environment.restore(snapshot)
  environment.step(traces.answer("look"))
  environment.restore(snapshot)
  assert [environment.step(action) for action in rest] == expected
  environment.close()
  other = opened(task)
  other.restore(snapshot)
  assert [other.step(action) for action in rest] == expected
  other.close()
