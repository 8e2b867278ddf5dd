import re
import string

import pytest

from agentrl.envs.tasks.data.stories import NAMES, STORIES, THINGS
from agentrl.envs.tasks.word_problems import KINDS, check, generate


def tasks(difficulty, count=400, **options):
  return [generate(index, split="train", difficulty=difficulty, **options) for index in range(count)]


def letters(text):
  return {name for _, name, _, _ in string.Formatter().parse(text) if name and len(name) == 1}


def test_there_are_dozens_of_stories_and_every_one_tells_all_its_numbers():
  assert set(STORIES) == set(KINDS)
  assert sum(map(len, STORIES.values())) >= 36
  for kind, stories in STORIES.items():
    assert len(set(stories)) >= 3
    for story in stories:
      assert letters(story) == letters(KINDS[kind].expression), story
      assert story.endswith("?")


def test_names_and_things_are_words_of_their_own():
  assert len(set(NAMES)) == len(NAMES)
  assert len(set(THINGS)) == len(THINGS)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_the_operations_of_the_expression(kind):
  assert len(re.findall(r"//|[-+*]", KINDS[kind].expression)) == KINDS[kind].steps


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4])
def test_difficulty_is_the_number_of_steps_and_answers_are_whole_positive_and_right(difficulty):
  seen = tasks(difficulty)
  for task in seen:
    expression = task.data["expression"]
    assert KINDS[task.data["kind"]].steps == difficulty
    # Exact division: / and // agree. Python's own arithmetic is the reference.
    assert eval(expression) == eval(expression.replace("//", "/")) == int(task.answer) > 0
    assert set(re.findall(r"\d+", expression)) <= set(re.findall(r"\d+", task.question))
  assert {task.data["kind"] for task in seen} == {name for name, kind in KINDS.items() if kind.steps == difficulty}
  assert len({task.question for task in seen}) > 390


def test_kinds_may_be_chosen_up_to_the_difficulty():
  chosen = ("product", "sum_times_price")
  seen = tasks(2, kinds=chosen)
  assert {task.data["kind"] for task in seen} == set(chosen)
  assert {task.difficulty for task in seen} == {1, 2}  # each task's own steps


@pytest.mark.parametrize(
  ("kinds", "words"),
  [
    (("products",), r"no kind of word problem is called 'products': did you mean 'product'\?"),
    (("two_step",), "kind 'two_step' has 2 steps; set difficulty to 2 or leave it out"),
    ((), "kinds must be a sequence of at least one name"),
    ("sum", "kinds must be a sequence of at least one name, got 'sum'"),
  ],
)
def test_wrong_kinds_are_errors(kinds, words):
  with pytest.raises(ValueError, match=words):
    generate(0, split="train", kinds=kinds)


def test_check_reads_numbers_in_words():
  task = generate(0, split="train")
  assert check(task, f"That makes {int(task.answer):,} in all.")
  assert not check(task, f"That makes {int(task.answer) + 1} in all.")
