import pytest

from agentrl.envs.tasks import countdown
from agentrl.types import Task

TASK = Task(id="c", family="countdown", question="", data={"numbers": [3, 7, 7, 25], "target": 46, "solution": ""})


@pytest.mark.parametrize(
  ("answer", "right"),
  [
    ("25+3*7", True),
    ("(3 * 7) + 25", True),
    ("25+3*7 = 46", True),
    ("`25+3*7`.", True),
    ("7+7+7+25", False),  # a third 7
    ("25+21", False),  # a number that was not given
    ("46", False),
    ("25+3*7+0*7", False),  # 0 was not given
    ("25+3*7+7-7", False),  # a third 7, though the value is right
    ("(25+7)*(7-3)", False),  # every number once, and not 46
  ],
)
def test_answers(answer, right):
  assert countdown.check(TASK, answer) is right


@pytest.mark.parametrize(
  "answer",
  ["25+3*7=47", "25+3*7=", "25+3**7//47", "3*7+25.0*1", "(25+3*7", "the answer is 25+3*7", "25+3*7\n46", "25*7//3-12"],
)
def test_what_is_not_an_expression_over_the_numbers_is_wrong(answer):
  assert not countdown.check(TASK, answer)


def test_integer_division_and_powers_are_refused():
  task = Task(id="c", family="countdown", question="", data={"numbers": [2, 3, 9], "target": 8, "solution": ""})
  assert not countdown.check(task, "2**3")
  assert not countdown.check(Task(id="c", family="countdown", question="", data={**task.data, "target": 4}), "9//2")
  assert countdown.check(Task(id="c", family="countdown", question="", data={**task.data, "target": 6}), "9/3*2")


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4])
def test_difficulty_is_the_count_of_numbers_and_solutions_hold(difficulty):
  for index in range(100):
    task = countdown.generate(index, split="train", difficulty=difficulty)
    assert len(task.data["numbers"]) == difficulty + 2
    assert 10 <= task.data["target"] <= 999
    assert task.data["target"] not in task.data["numbers"]
    assert countdown.check(task, task.data["solution"])
    assert not countdown.check(task, str(task.data["target"]))
    assert task.answer is None


STEPWISE = Task("c", "countdown", "", data={"numbers": [3, 7, 7, 24], "target": 45, "solution": "", "stepwise": True})


@pytest.mark.parametrize(
  ("answer", "right"),
  [
    ("3*7=21\n21+24=45", True),
    (" 3 * 7 = 21 \n24+21=45\n", True),
    ("24/3=8\n7*7=49\n49-8=41", False),  # holds, and is not the target
    ("3*7=21\n3*7=21\n21+24=45", False),  # one 3 alone
    ("3*7=22\n22+24=46", False),  # does not hold
    ("21+24=45", False),  # 21 was never made
    ("3*7=21\n21+24", False),
    ("24-0=24", False),
    ("7/3=2\n", False),  # not whole
    ("3*7=21 21+24=45", False),
    ("", False),
    ("45", False),
    ("7-7=0\n3/0=0", False),
    ("9" * 40 + "+1=1", False),
  ],
)
def test_stepwise_answers(answer, right):
  assert countdown.check(STEPWISE, answer) is right


@pytest.mark.parametrize("difficulty", [1, 2, 4])
def test_stepwise_oracles_hold(difficulty):
  for index in range(100):
    task = countdown.generate(index, split="train", difficulty=difficulty, stepwise=True, largest=13)
    (answer,) = countdown.oracle(task, "none")
    assert countdown.check(task, answer.answer)
    assert answer.answer.count("\n") == difficulty  # an operation less than there are numbers
    assert max(task.data["numbers"]) <= 13 and str(task.data["target"]) in task.question


def test_numbers_too_small_are_refused():
  with pytest.raises(ValueError, match="at least 10"):
    countdown.generate(0, split="train", largest=3)
