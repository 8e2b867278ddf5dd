"""Both tables by brute force, and games from start to end as a rollout plays them."""

import pytest

from agentrl import envs
from agentrl.envs.tasks import twenty_questions
from agentrl.envs.tasks.data.things import QUESTIONS, THINGS
from agentrl.types import Action, TurnKind


def answer_of(environment, task, text):
  environment.reset(task, 0)
  return environment.step(Action(TurnKind.ANSWER, text, answer=text)).text


def test_every_answer_about_every_thing_is_that_of_the_table():
  source = envs.make("twenty_questions", "")
  environment, asked = source.environment(), set()
  for index in range(len(THINGS)):
    task = source.task(index, "held_out")
    asked.add(task.answer)
    for key, wordings in QUESTIONS.items():
      for text in wordings:
        expected = "Yes." if key in THINGS[task.answer].split() else "No."
        assert answer_of(environment, task, text) == expected
    assert answer_of(environment, task, f"Is it {task.answer}?") == ""
    assert answer_of(environment, task, "Do you like it?") == "Please ask a yes/no question that I know."
  assert asked == set(THINGS)


def test_sixteen_items_take_every_combination_of_four_answers():
  table = twenty_questions.load_table("sixteen")
  answers = {tuple(item in question.yes for question in table.questions) for item in table.items}
  assert (len(table.items), len(table.questions), len(answers)) == (16, 4, 16)
  assert table.items[0] == "a beluga" and all("a beluga" in question.yes for question in table.questions)
  assert all(len(question.text) <= 15 for question in table.questions)
  assert max(len(move.text) for move in table.moves) <= 18


@pytest.mark.parametrize("table", ["things", "sixteen"])
@pytest.mark.parametrize("demonstrator", ["bisect", "random"])
def test_demonstrations_are_played_to_the_end(table, demonstrator):
  source = envs.make("twenty_questions", "", options={"table": table, "demonstrator": demonstrator})
  for index in range(40):
    task, environment = source.task(index, "train"), source.environment()
    environment.reset(task, 0)
    *earlier, last = [environment.step(action) for action in source.oracle(task)]
    assert all(o.ok and not o.done for o in earlier) and last.done
    assert last.parts["return"] == sum(o.reward for o in (*earlier, last))
    if demonstrator == "bisect":
      assert last.parts["correct"] == 1.0


def test_wrong_options_are_errors_when_the_source_is_made():
  with pytest.raises(ValueError, match="no table is called 'sixten': did you mean 'sixteen'"):
    envs.make("twenty_questions", "", options={"table": "sixten"})
  with pytest.raises(ValueError, match="is called 'turn': did you mean 'turns'"):
    envs.make("twenty_questions", "", options={"turn": 3})
  with pytest.raises(ValueError, match="twenty_questions has difficulty 1 alone, not 2"):
    envs.make("twenty_questions", "", difficulty=2)
