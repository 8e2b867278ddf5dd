"""The oracle against its table, what it reads as a question, and the rules of the game."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.base import Setting
from agentrl.envs.dialogue import GuessingGame, Question, Table
from agentrl.types import Action, Message, Task, ToolCall, TurnKind

TABLE = Table(
  name="four",
  opening="What is it?",
  items=("a dog", "an owl", "Orléans", "salt"),
  questions=(
    Question("Is it alive?", frozenset(("a dog", "an owl")), ("Does it live?",)),
    Question("Does it have more than 1 million people?", frozenset()),
    Question("Can it fly?", frozenset(("an owl",))),
  ),
  unknown="What?",
)


def game(item="a dog", turns=4, setting=None):
  environment = GuessingGame({"four": TABLE}.__getitem__, setting)
  task = Task("t", "test", "What is it?", answer=item, data={"table": "four", "turns": turns})
  environment.opening = environment.reset(task, 0)
  return environment


def say(text):
  return Action(TurnKind.ANSWER, text, answer=text)


# ---- what is read as a question ---------------------------------------------------------------------------------


def test_every_wording_of_every_move_is_read_as_that_move():
  assert len(TABLE.moves) == 3 + 4
  for move in TABLE.moves:
    for text in (move.text, *move.others):
      assert TABLE.read(text) is move


@pytest.mark.parametrize(
  ("utterance", "text"),
  [
    ("is it a dog", "Is it a dog?"),
    ("IS IT DOG?!", "Is it a dog?"),
    ("  Is\tit an  dog ?", "Is it a dog?"),
    ("Well. Is it a dog? I think so.", "Is it a dog?"),
    ("Question: is it alive? Is it a dog?", "Is it alive?"),
    ("Is the animal alive?", "Is it alive?"),
    ("Is this thing the dog?", "Is it a dog?"),
    ("does IT live", "Is it alive?"),
    ("Is the city Orleans?", "Is it Orléans?"),
    ("Is it ORLÉANS?", "Is it Orléans?"),
    ("Is it salt.", "Is it salt?"),
    ("Does it have more than 1 million people?", "Does it have more than 1 million people?"),
  ],
)
def test_small_differences_do_not_matter(utterance, text):
  assert TABLE.read(utterance).text == text


@pytest.mark.parametrize(
  "utterance",
  ["", " ", "?", "???", "dog", "Is it?", "Is it a", "Is it a dogs?", "Is it a dog or an owl?", "Does it have more than"]
  + ["Is it alive\x00\ud800 then", "is it alive " * 900, "?" * 10_000, "a" * 10_000, "\u0301" * 10_000, "ﷺ" * 10_000],
)  # fmt: skip
def test_anything_else_is_no_question(utterance):
  assert TABLE.read(utterance) is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text):
  move = TABLE.read(text)
  assert move is None or move in TABLE.moves


def test_tables_that_cannot_work_are_refused():
  with pytest.raises(ValueError, match=r"table 'four': more than one question is worded \['is it dog'\]"):
    dataclasses.replace(TABLE, questions=(Question("Is it the dog?", frozenset()),))
  with pytest.raises(ValueError, match=r"'Can it fly\?' is true of \['a bat'\], which are no items"):
    dataclasses.replace(TABLE, questions=(Question("Can it fly?", frozenset(("a bat",))),))


# ---- the rules --------------------------------------------------------------------------------------------------


def test_the_oracle_answers_as_the_table_says():
  for item in TABLE.items:
    for move in TABLE.moves:
      observation = game(item).step(say(move.text))
      if move.guess and move.yes == {item}:
        assert observation.done and observation.text == ""
      else:
        assert observation.text == ("Yes." if item in move.yes else "No.")
        assert observation.ok and not observation.done


def test_rewards_of_a_won_game_by_hand():
  """A question, a wrong guess, garbage, and the right guess: -1 -1 -1 + 0."""
  environment = game()
  seen = [environment.step(say(text)) for text in ("Is it alive?", "Is it an owl?", "Is it?", "Is it a dog?")]
  assert [o.reward for o in seen] == [-1.0, -1.0, -1.0, 0.0]
  assert [o.text for o in seen] == ["Yes.", "No.", "What?", ""]
  assert [o.ok for o in seen] == [True, True, False, True]
  assert [o.done for o in seen] == [False, False, False, True]
  assert seen[-1].parts == {"correct": 1.0, "return": -3.0}
  assert all(o.parts == {"correct": 0.0, "return": -4.0} for o in seen[:-1])  # as if lost, until it is over


@pytest.mark.parametrize("turns", [1, 4, 20])
def test_a_game_is_lost_after_its_turns(turns):
  environment = game("salt", turns)
  seen = [environment.step(say("Can it fly?")) for _ in range(turns)]
  assert [o.done for o in seen] == [False] * (turns - 1) + [True]
  assert all(o.reward == -1.0 for o in seen)
  assert seen[-1].parts == {"correct": 0.0, "return": -float(turns)}
  with pytest.raises(RuntimeError, match="outside a game"):
    environment.step(say("Is it salt?"))


def test_a_right_guess_in_the_last_turn_wins():
  environment = game("salt", 2)
  environment.step(say("Is it a dog?"))
  assert environment.step(say("Is it salt?")).parts == {"correct": 1.0, "return": -1.0}


@pytest.mark.parametrize(
  "action",
  [
    Action(TurnKind.VOID, "Is it a dog?"),
    Action(TurnKind.MALFORMED, "Is it a dog?", problem="bad"),
    Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("Is it a dog?", {}),)),
  ],
)
def test_turns_that_say_nothing_cost_a_turn(action):
  observation = game().step(action)
  assert (observation.text, observation.reward, observation.ok, observation.done) == ("What?", -1.0, False, False)


def test_an_environment_plays_again_and_opens_with_its_messages():
  shown = (Message("user", "before"),)
  environment = game(setting=Setting("Be brief.", shown))
  assert environment.opening == [Message("system", "Be brief."), *shown, Message("user", "What is it?")]
  assert environment.tools == ()
  environment.step(say("Is it alive?"))
  environment.reset(Task("u", "test", "?", answer="salt", data={"table": "four", "turns": 3}), 1)
  assert environment.step(say("Is it salt?")).parts == {"correct": 1.0, "return": 0.0}
  environment.close()
  with pytest.raises(RuntimeError, match="outside a game"):
    environment.step(say("Is it salt?"))


@pytest.mark.parametrize(
  ("task", "words"),
  [
    (Task("x", "arithmetic", "1+1?", "2"), "task x of family 'arithmetic' is no guessing game"),
    (Task("x", "f", "?", "a cat", data={"table": "four", "turns": 3}), "task x hides 'a cat', which is no item"),
  ],
)
def test_tasks_of_another_kind_are_refused(task, words):
  with pytest.raises(ValueError, match=words):
    GuessingGame({"four": TABLE}.__getitem__).reset(task, 0)
