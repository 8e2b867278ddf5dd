import json

import pytest

from agentrl import envs
from agentrl.types import Task, TurnKind

pytest.importorskip("duckdb", reason="needs agentrl[sql]")
sql_qa = pytest.importorskip("agentrl.envs.tasks.sql_qa", reason="needs agentrl[sql]", exc_type=ModuleNotFoundError)

DIFFICULTIES = (1, 2, 3)
SPLITS = ("train", "held_out")


def replay(environment, source, task):
  environment.reset(task, 0)
  *calls, last = source.oracle(task)
  observations = [environment.step(call) for call in calls]
  assert all(observation.ok for observation in observations), [observation.text for observation in observations]
  # The answer is what the tool says: the first value of the first row.
  said = observations[-1].text.splitlines()[1].split(" | ")[0]
  assert sql_qa.check(task, said), (task, said)
  observation = environment.step(last)
  assert last.kind is TurnKind.ANSWER
  assert (observation.done, observation.parts) == (True, {"correct": 1.0})


@pytest.mark.parametrize("tool", ["sql", "duckdb"])
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_finds_the_answer_in_either_engine(difficulty, tool):
  source = envs.make("sql_qa", tool, difficulty=difficulty, call_seconds=60.0)
  environment = source.environment()
  for split in SPLITS:
    for index in range(8 if tool == "sql" else 4):
      replay(environment, source, source.task(index, split))
  environment.close()


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["sql", "duckdb"])
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_finds_hundreds_of_answers_in_either_engine(difficulty, tool):
  source = envs.make("sql_qa", tool, difficulty=difficulty, call_seconds=60.0)
  environment = source.environment()
  for split in SPLITS:
    for index in range(8, 150):
      replay(environment, source, source.task(index, split))
  environment.close()


def test_tasks_are_pure_json_and_named():
  for difficulty in DIFFICULTIES:
    for index in range(20):
      task = sql_qa.generate(index, split="train", difficulty=difficulty)
      assert task == sql_qa.generate(index, split="train", difficulty=difficulty)
      assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
      assert task.id == f"sql_qa-train-{difficulty}-{index}"
  used = {sql_qa.generate(index, split="train").data["database"] for index in range(20)}
  assert used == {"flights", "geography"}
  assert sql_qa.generate(2**31 - 1, split="train", database="flights").data["database"] == "flights"


def test_known_answers_by_hand():
  rows = sql_qa._rows("flights", "SELECT count(*) FROM flights")
  assert rows == [(336776,)]  # as the data set's own documentation says
  assert sql_qa._rows("flights", "SELECT name FROM airlines WHERE carrier = 'UA'") == [("United Air Lines Inc.",)]
  assert sql_qa._rows("geography", "SELECT capital FROM countries WHERE code = 'FR'") == [("Paris",)]
  assert sql_qa._rows("geography", "SELECT count(*) FROM countries WHERE code = 'NA' OR continent = 'NA'")[0][0] > 20


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_wrong_answers_are_wrong(difficulty):
  for index in range(15):
    task = sql_qa.generate(index, split="train", difficulty=difficulty)
    for answer in ("", "I do not know", "-1", "the", f"{task.answer} or 0.123"):
      assert not sql_qa.check(task, answer)
    assert sql_qa.check(task, f"It is {task.answer}.")


@pytest.mark.parametrize(
  ("expected", "decimals", "answer", "right"),
  [
    ("12.35", 2, "12.35", True),
    ("12.35", 2, "12.3512", True),
    ("12.35", 2, "12.34", False),
    ("12.35", 2, "12.4", False),
    ("1234567", None, "1,234,567 people", True),
    ("1234567", None, "1234566", False),
    ("737-824", None, "the 737-824", True),
    ("737-824", None, "824", False),
    ("0.44", None, "0.44", True),
  ],
)
def test_numbers_are_compared_as_asked(expected, decimals, answer, right):
  assert sql_qa.check(Task("t", "sql_qa", "?", expected, data={"decimals": decimals}), answer) is right


def test_wrong_arguments_are_clear_errors():
  with pytest.raises(ValueError, match="no split is called 'test'"):
    sql_qa.generate(0, split="test")
  with pytest.raises(ValueError, match="sql_qa has difficulties 1 to 3, not 4"):
    sql_qa.generate(0, split="train", difficulty=4)
  with pytest.raises(ValueError, match="sql_qa has the databases flights, geography, not 'cats'"):
    sql_qa.generate(0, split="train", database="cats")
  with pytest.raises(ValueError, match="cannot be solved with the tool 'hammer'; use sql or duckdb"):
    sql_qa.oracle(sql_qa.generate(0, split="train"), "hammer")
