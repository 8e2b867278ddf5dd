import pytest

from agentrl.envs.tasks import key_lookup
from agentrl.envs.tasks.key_lookup import check, generate, oracle
from agentrl.envs.tools.lookup import NO_SUCH_KEY, KeyTable
from agentrl.types import Task


def tasks(difficulty, count=200, **options):
  return [generate(index, split="train", difficulty=difficulty, **options) for index in range(count)]


def look_up(task, key):
  table = KeyTable()
  table.reset(task, 0)
  return table.lookup(key)


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_following_the_keys_leads_to_the_answer(difficulty):
  for task in tasks(difficulty):
    keys = task.data["keys"]
    assert len(keys) == task.data["hops"] == difficulty - 1
    results = [look_up(task, key) for key in keys]
    assert keys[1:] == results[:-1]  # the value of the first is the second
    if keys:
      assert results[-1] == (task.answer if task.data["known"] else NO_SUCH_KEY)
    assert (task.answer == "unknown") is not task.data["known"]


def test_without_hops_the_question_states_the_answer_or_another_keys_value():
  for task in tasks(1):
    fact, question = task.question.split(". ")
    key = question.removeprefix("What is the value of ").removesuffix("?")
    stated, value = fact.removeprefix("The value of ").split(" is ")
    assert (stated == key) is task.data["known"]
    assert look_up(task, stated) == value
    assert look_up(task, key) == (value if task.data["known"] else NO_SUCH_KEY)


def test_with_hops_the_question_tells_no_value():
  for difficulty in (2, 3):
    assert all(task.answer not in task.question for task in tasks(difficulty))
    assert all(task.data["keys"][0] in task.question for task in tasks(difficulty))


@pytest.mark.parametrize(("unknown", "low", "high"), [(0.0, 0, 0), (0.25, 60, 140), (1.0, 400, 400)])
def test_the_share_of_unknown_keys(unknown, low, high):
  missing = sum(task.answer == "unknown" for task in tasks(2, 400, unknown=unknown))
  assert low <= missing <= high


def test_a_key_is_known_in_every_table_or_in_none():
  present, absent = set(), set()
  for difficulty in (1, 2, 3):
    for task in tasks(difficulty, 500):
      present |= set(task.data["table"])
      absent |= set() if task.data["known"] else set(task.data["keys"][-1:])
  assert absent
  assert not present & absent


def test_a_share_outside_0_to_1_is_an_error():
  with pytest.raises(ValueError, match="unknown must be a share between 0 and 1, got 25"):
    generate(0, split="train", unknown=25)


@pytest.mark.parametrize(
  ("answer", "right"),
  [("417", True), ("The value is 417.", True), ("417!", True), ("417 or 418", False), ("4170", False), ("", False)],
)
def test_the_last_word_is_the_answer(answer, right):
  assert check(Task(id="k", family="key_lookup", question="", answer="417"), answer) is right


def test_unknown_is_an_answer():
  task = Task(id="k", family="key_lookup", question="", answer="unknown")
  assert check(task, "It is Unknown.")
  assert not check(task, "417")


def test_no_tool_is_enough_without_hops_alone():
  assert [action.answer for action in oracle(tasks(1, 1)[0], "none")] == [tasks(1, 1)[0].answer]
  with pytest.raises(ValueError, match="key_lookup with 2 hops cannot be solved with the tool 'none'; use lookup"):
    oracle(tasks(3, 1)[0], "none")
  assert key_lookup.UNKNOWN == "unknown"
