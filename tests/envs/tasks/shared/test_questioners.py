"""Tasks, demonstrations and the optimum of guessing games, against brute force."""

import collections
import json
import random

import pytest

from agentrl.envs.dialogue import GuessingGame, Question, Table
from agentrl.envs.tasks.shared import questioners
from agentrl.envs.tasks.twenty_questions import load_table

SIXTEEN = load_table("sixteen")


def table_of(answers):
  """A table of items a, b, c, ... with one question for each string of answers: "yn" is true of a and not of b."""
  items = tuple(f"item {chr(ord('a') + n)}" for n in range(len(answers[0])))
  questions = [
    Question(f"Question {n}?", frozenset(item for item, answer in zip(items, column, strict=True) if answer == "y"))
    for n, column in enumerate(answers)
  ]
  return Table("small", "?", items, tuple(questions), "What?")


def make(index=0, table=SIXTEEN, **options):
  settings = {"family": "test", "split": "train", "difficulty": 1, "seed": 0, **options}
  return questioners.make_task(table, index, **settings)


def played(task, table=SIXTEEN):
  """What the environment says to a demonstration."""
  environment = GuessingGame({table.name: table}.__getitem__)
  environment.reset(task, 0)
  return [environment.step(action) for action in questioners.demonstrate(table, task)]


# ---- tasks ------------------------------------------------------------------------------------------------------


def test_a_round_asks_for_every_item_once_in_an_order_of_its_own():
  rounds = [[make(index).answer for index in range(first, first + 16)] for first in (0, 16, 32)]
  assert all(sorted(answers) == sorted(SIXTEEN.items) for answers in rounds)
  assert rounds[0] != rounds[1] != rounds[2]
  assert rounds[0] != [make(index, split="held_out").answer for index in range(16)]
  assert rounds[0] != [make(index, seed=1).answer for index in range(16)]


def test_tasks_are_pure_json_and_named():
  tasks = [make(index, demonstrator="random") for index in range(40)]
  assert tasks == [make(index, demonstrator="random") for index in range(40)]
  assert len({task.id for task in tasks}) == 40
  assert json.loads(json.dumps(dict(tasks[0].data))) == dict(tasks[0].data)
  assert (tasks[3].id, tasks[3].family, tasks[3].question) == ("test-train-1-3", "test", SIXTEEN.opening)


def test_held_out_items_are_asked_for_on_one_side_alone():
  table = load_table("things")
  asked = {
    split: {make(index, table, split=split, held_out_items=True).answer for index in range(300)}
    for split in ("train", "held_out")
  }
  assert not asked["train"] & asked["held_out"]
  assert asked["train"] | asked["held_out"] == set(table.items)
  assert 5 <= len(asked["held_out"]) <= len(table.items) / 4
  with pytest.raises(ValueError, match="no item of the table 'small' is on the held_out side; set held_out_items"):
    make(table=table_of(["y"]), split="held_out", held_out_items=True)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"split": "test"}, "no split is called 'test'"),
    ({"difficulty": 2}, "test has difficulty 1 alone, not 2"),
    ({"turns": 0}, "turns must be at least 1, got 0"),
    ({"guess_share": 1.5}, "guess_share must be a share between 0 and 1, got 1.5"),
    ({"demonstrator": "bisct"}, "no demonstrator is called 'bisct': did you mean 'bisect'"),
  ],
)
def test_wrong_options_are_errors(options, words):
  with pytest.raises(ValueError, match=words):
    make(**options)


# ---- demonstrations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("demonstrator", sorted(questioners.QUESTIONERS))
def test_demonstrations_are_understood_pure_and_finish(demonstrator):
  for index in range(32):
    task = make(index, demonstrator=demonstrator, turns=20)
    seen = played(task)
    assert all(o.ok for o in seen)
    assert [o.done for o in seen] == [False] * (len(seen) - 1) + [True]
    assert questioners.demonstrate(SIXTEEN, task) == questioners.demonstrate(SIXTEEN, task)


def test_demonstrations_differ_from_task_to_task():
  def asked(index):
    return [action.answer for action in questioners.demonstrate(SIXTEEN, make(index, demonstrator="random"))]

  same_item = [index for index in range(160) if make(index).answer == SIXTEEN.items[0]]
  assert len(same_item) == 10 and len({tuple(asked(index)) for index in same_item}) > 3


def mean_return(**options):
  """Over ten rounds."""
  returns = [played(make(index, **options))[-1].parts["return"] for index in range(160)]
  return sum(returns) / len(returns)


def test_skills_are_ordered_and_bisecting_is_optimal_here():
  assert mean_return(demonstrator="bisect") == questioners.optimal_return(SIXTEEN) == -3.5
  consistent, guessing = mean_return(demonstrator="random"), mean_return(demonstrator="random", guess_share=1.0)
  careless = mean_return(demonstrator="careless")
  assert -3.5 > consistent > guessing > careless > -20
  # Guessing alone, never twice: 0 to 15 wrong guesses, all equally likely.
  assert guessing == pytest.approx(-7.5, abs=1.0)


def test_random_is_consistent_and_never_asks_twice():
  for index in range(64):
    task, candidates = make(index, demonstrator="random", guess_share=0.5), set(SIXTEEN.items)
    moves = [SIXTEEN.read(action.answer) for action in questioners.demonstrate(SIXTEEN, task)]
    assert max(collections.Counter(move.text for move in moves).values()) == 1
    for move in moves:
      assert not move.guess or move.yes <= candidates
      candidates = {item for item in candidates if (item in move.yes) == (task.answer in move.yes)}
    assert len(moves) <= 20 and moves[-1].yes == {task.answer}


def test_bisecting_guesses_where_no_question_splits():
  table = table_of(["yyyyyyyy", "nnnnnnnn"])
  seen = [len(played(make(index, table), table)) for index in range(8)]
  assert sorted(seen) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_bisecting_guesses_among_three():
  """Guesses in turn return (0 - 1 - 2) / 3; to split three would return (-1 - 1 - 2) / 3 at best."""
  table = table_of(["ynn", "nyn"])
  returns = [played(make(index, table), table)[-1].parts["return"] for index in range(3)]
  assert sorted(returns) == [-2.0, -1.0, 0.0]
  assert questioners.optimal_return(table) == -1.0


def test_a_tool_is_refused():
  with pytest.raises(ValueError, match="test tasks cannot be solved with the tool 'calculator'"):
    questioners.oracle(SIXTEEN, make(), "calculator")


# ---- the optimum ------------------------------------------------------------------------------------------------


def brute_force(table, items, depth):
  """Best total return over `items` with every move allowed, pointless ones too, for `depth` turns."""
  if not items or depth == 0:
    return 0.0
  totals = []
  for move in table.moves:
    yes = [item for item in items if item in move.yes]
    no = [item for item in items if item not in move.yes]
    won = len(yes) if move.guess else 0
    rest = brute_force(table, no, depth - 1) + (0.0 if move.guess else brute_force(table, yes, depth - 1))
    totals.append(won - len(items) + rest)
  return max(totals)


@pytest.mark.parametrize("answers", [["yynn", "ynyn"], ["ynnn", "yynn"], ["yyyy"], ["yyn"], ["y"], ["ynynn"]])
def test_the_optimum_equals_brute_force(answers):
  table = table_of(answers)
  expected = brute_force(table, list(table.items), len(table.items)) / len(table.items)
  assert questioners.optimal_return(table) == pytest.approx(expected)


def test_the_optimum_of_random_tables_equals_brute_force():
  for seed in range(4):
    rng = random.Random(seed)
    table = table_of(["".join(rng.choice("yn") for _ in range(4)) for _ in range(2)])
    assert questioners.optimal_return(table) == pytest.approx(brute_force(table, list(table.items), 4) / 4)


def test_the_optimum_by_hand():
  assert questioners.optimal_return(table_of(["y"])) == 0.0
  assert questioners.optimal_return(table_of(["yn"])) == -0.5  # guess one, then the other
  assert questioners.optimal_return(table_of(["yyy"])) == -1.0  # guess three in turn: (0 + 1 + 2) / 3
  # Eight items and three questions: halve twice at -1 each, then guess between two.
  assert questioners.optimal_return(table_of(["yyyynnnn", "yynnyynn", "ynynynyn"])) == -2.5


def test_a_large_table_is_refused():
  with pytest.raises(ValueError, match="exact search takes at most 16 items; the table 'things' has 123"):
    questioners.optimal_return(load_table("things"))
