"""Which game a task plays, in what order, and how its demonstration is acted."""

import pytest

from agentrl.envs.adapters import text_tasks
from agentrl.envs.tasks.shared import traces


def make_task(**options):
  given = {"split": "train", "difficulty": 1, "seed": 0, "intro": "Stairs.", "data": {}, "steps": 10} | options
  return text_tasks.make_task("stairs", 7, **given)


def test_games_take_turns_or_one_is_chosen():
  assert [text_tasks.pick_game(("a", "b"), "all", index, family="f") for index in range(4)] == [
    ("a", 0),
    ("b", 0),
    ("a", 1),
    ("b", 1),
  ]
  assert text_tasks.pick_game(("a", "b"), "b", 3, family="f") == ("b", 3)
  with pytest.raises(ValueError, match="f has no game 'c'; known: all, a, b"):
    text_tasks.pick_game(("a", "b"), "c", 3, family="f")


def test_each_round_has_every_entry_once_in_an_order_of_its_own():
  rounds = [[text_tasks.shuffled(9, 9 * n + k, "train", ("x",)) for k in range(9)] for n in range(3)]
  assert all(sorted(entries) == list(range(9)) for entries in rounds)
  assert len({tuple(entries) for entries in rounds}) == 3


def test_demonstrations_are_in_the_style_of_the_task():
  assert text_tasks.play(["up"], make_task(), "") == [traces.answer("up")]
  assert text_tasks.play(["up"], make_task(tool=True), "") == [traces.call("act", command="up")]
  with pytest.raises(ValueError, match="cannot be solved with the tool 'python'"):
    text_tasks.play(["up"], make_task(), "python")
  with pytest.raises(ValueError, match=r"has 1 steps and its demonstration takes 2; raise steps"):
    text_tasks.play(["up", "up"], make_task(steps=1), "")
