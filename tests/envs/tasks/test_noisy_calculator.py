"""Noise derives from the seed, demonstrations meet none of it, and both can be got over by calling again."""

import json

import pytest

from agentrl import envs
from agentrl.envs.tasks import noisy_calculator
from agentrl.types import Action, ToolCall, ToolFailure, TurnKind


def tasks(count=200, *, split="train", **options):
  return [noisy_calculator.generate(index, split=split, **options) for index in range(count)]


def call(environment, expression):
  action = Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("calculate", {"expression": expression}),))
  return environment.step(action)


def started(task, seed=0, **settings):
  environment = envs.make("noisy_calculator", "", **settings).environment()
  environment.reset(task, seed)
  return environment


@pytest.mark.parametrize(("difficulty", "digits"), [(1, (1, 1, 2)), (2, (2, 2, 2))])
def test_difficulty_is_the_size_of_the_numbers(difficulty, digits):
  for task in tasks(difficulty=difficulty):
    a, b, c = task.data["numbers"]
    assert tuple(len(str(n)) for n in (a, b, c)) == digits
    assert task.answer == str(a * b + c) and task.question in (f"What is {a}*{b}+{c}?", f"{a}*{b}+{c}=?")


def test_splits_share_no_numbers():
  contents = [
    {str(sorted(task.data["numbers"])) for d in (1, 2) for task in tasks(1000, split=split, difficulty=d)}
    for split in ("train", "held_out")
  ]
  assert not contents[0] & contents[1] and min(map(len, contents)) > 100


def test_tasks_are_pure_and_their_data_json():
  assert tasks(20) == tasks(20) and tasks(20) != tasks(20, seed=1)
  assert all(json.loads(json.dumps(dict(task.data))) == dict(task.data) for task in tasks(20))


@pytest.mark.parametrize("mild", [0.0, 0.5, 1.0])
def test_the_oracle_calls_again_after_a_mild_fault(mild):
  """Of 100 tasks as many have a fault as `mild` says; in these one call comes twice, and the first try meets "?"."""
  faulty = 0
  for task in tasks(100, mild=mild, quiet=100):
    *calls, last = noisy_calculator.oracle(task, "")
    environment = started(task)
    told = [environment.step(action).text for action in calls]
    assert environment.step(last).parts == {"correct": 1.0}
    a, b, c = task.data["numbers"]
    assert [text for text in told if text != "?"] == [str(a * b), str(a * b + c)]
    repeats = len(calls) == 3 and told.count("?") == 1 and len({str(action.calls) for action in calls}) == 2
    assert task.stratum == ("fault" if repeats else "plain")
    faulty += repeats
  assert faulty == pytest.approx(100 * mild, abs=15)


def test_noise_is_a_line_that_the_seed_decides():
  (task,) = tasks(1, noise=1.0, length=5, mild=0.0)
  lines = [[call(environment, "2*3").text for _ in range(3)] for environment in (started(task, s) for s in (7, 7, 8))]
  assert lines[0] == lines[1] != lines[2]
  assert all(len(line) == 5 and set(line) <= set(noisy_calculator.NOISE) for line in lines[0])
  assert len(set(lines[0])) == 3  # of characters that stand nowhere else
  assert not set(noisy_calculator.NOISE) & set(task.question + "0123456789?+-*/<>=[]\n")


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_as_many_calls_meet_noise_as_the_dial_says(noise):
  (task,) = tasks(1, noise=noise, mild=0.0)
  told = [call(started(task, seed), "2*3").text for seed in range(400)]
  assert sum(text != "6" for text in told) == pytest.approx(400 * noise, abs=40)


def test_the_first_tasks_of_the_train_split_are_quiet():
  assert [task.data["noise"] for task in tasks(4, noise=0.3, quiet=2)] == [0.0, 0.0, 0.3, 0.3]
  assert [task.data["noise"] for task in tasks(2, noise=0.3, quiet=2, split="held_out")] == [0.3, 0.3]


@pytest.mark.parametrize(
  ("expression", "text"),
  [("47*36", "1692"), ("7", "7"), ("47*36+12", "error: one operator"), ("47*", "error: no numbers")],
)
def test_a_call_has_one_operator(expression, text):
  (task,) = tasks(1, noise=0.0, mild=0.0)
  observation = call(started(task), expression)
  assert observation.text == text
  failures = [result.failure for result in observation.results]
  assert failures == [ToolFailure.ARGUMENTS if text.startswith("error") else None]


def test_wrong_answers_are_wrong():
  for task in tasks(50, difficulty=2):
    right = int(task.answer)
    a, b, c = task.data["numbers"]
    assert noisy_calculator.check(task, f"The answer is {right}.")
    wrong = (right + 1, -right, a * b, a * b - c, f"{right}0", f"{right} or {right + 1}", "", noisy_calculator.NOISE)
    assert not any(noisy_calculator.check(task, str(answer)) for answer in wrong)


def test_what_a_lost_turn_is_told_is_a_setting():
  (task,) = tasks(1)
  lost = [Action(TurnKind.VOID, "hm"), Action(TurnKind.MALFORMED, "<2*", problem="it is cut")]
  assert [started(task, lost_text="?").step(action).text for action in lost] == ["?", "?"]
  assert [started(task).step(action).text[:20] for action in lost] == ["That turn has neithe", "error: it is cut"]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"difficulty": 3}, "noisy_calculator has difficulties 1 and 2, not 3"),
    ({"noise": 1.5}, "noise and mild are shares between 0 and 1, got 1.5"),
    ({"mild": -0.1}, "noise and mild are shares between 0 and 1, got 0.3 and -0.1"),
    ({"length": 0}, "at least one character: length=0"),
  ],
)
def test_a_wrong_option_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    noisy_calculator.generate(0, split="train", **options)
