import re

import pytest

from agentrl.envs.tasks import arithmetic


def tasks(difficulty, count=200):
  return [arithmetic.generate(index, split="train", difficulty=difficulty) for index in range(count)]


@pytest.mark.parametrize(
  ("difficulty", "pattern"),
  [
    (1, r"\d{2}[-+*]\d{2}"),
    (2, r"\d{2}[-+*]\d{2}[-+*]\d{2}"),
    (3, r"\(\d{2,4}[-+*]\d{2,4}\)[-+*]\d{2,4}|\d{2,4}[-+*]\(\d{2,4}[-+*]\d{2,4}\)"),
  ],
)
def test_difficulty_is_the_shape_of_the_expression(difficulty, pattern):
  assert all(re.fullmatch(pattern, task.data["expression"]) for task in tasks(difficulty))


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_answers_are_right(difficulty):
  # Python's own arithmetic is the reference; the expressions are ours.
  assert all(int(task.answer) == eval(task.data["expression"]) for task in tasks(difficulty))


def test_questions_are_short_and_vary():
  phrasings = {re.sub(r"[\d*+-]+", "#", task.question, count=1) for task in tasks(1)}
  assert phrasings == {"What is #?", "Compute #.", "#=?"}
  assert max(len(task.question) for task in tasks(1)) == len("What is 47*36?")


def test_all_operators_come_up():
  assert {re.sub(r"\d", "", task.data["expression"]) for task in tasks(1)} == {"+", "-", "*"}


def test_order_of_operands_does_not_make_another_task():
  held_out = [arithmetic.generate(index, split="held_out").data["expression"] for index in range(300)]
  train = [arithmetic.generate(index, split="train").data["expression"] for index in range(3000)]
  pairs = [{frozenset(re.findall(r"\d+", expression)) for expression in side} for side in (train, held_out)]
  assert not pairs[0] & pairs[1]


def test_check_reads_numbers_in_words():
  task = arithmetic.generate(0, split="train")
  assert arithmetic.check(task, f"The answer is {task.answer}.")
  assert not arithmetic.check(task, f"The answer is {int(task.answer) + 1}.")


def test_by_hand_every_step_is_right_and_the_last_is_the_answer():
  for task in tasks(1):
    (action,) = arithmetic.by_hand(task, "none")
    for step in action.answer.split(","):
      expression, _, value = step.partition("=")
      assert eval(expression) == int(value)
    assert int(value) == int(task.answer) and arithmetic.check(task, action.answer)
    assert action.answer.count(",") == (2 if "*" in task.data["expression"] else 0)
  with pytest.raises(ValueError, match="arithmetic by hand is shown at difficulty 1 alone"):
    arithmetic.by_hand(tasks(2, 1)[0], "none")
