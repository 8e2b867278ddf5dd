"""Facts and fresh keys that look alike, paths by stratum, lookups that go wrong, and habits."""

import collections

import pytest

from agentrl import envs
from agentrl.envs.tasks import knowledge
from agentrl.envs.tasks.knowledge import FACTS, check, generate
from agentrl.envs.tools.lookup import NO_SUCH_KEY, KeyTable
from agentrl.types import Task

NEEDED = {"known": 0, "one_hop": 1, "mixed": 1, "two_hops": 2, "three_hops": 3}


def tasks(difficulty=3, count=400, split="train", **options):
  return [generate(index, split=split, difficulty=difficulty, **options) for index in range(count)]


def table_of(task):
  table = KeyTable()
  table.reset(task, 0)
  return table


def asked(task):
  return task.question.removeprefix("What is ").removesuffix("?")


def test_facts_never_change_and_look_like_other_keys():
  assert len(FACTS) == 64 and knowledge._facts(64) == FACTS
  assert {len(key) for key in FACTS} == {4} == {len(asked(task)) for task in tasks()}
  for task in tasks():
    if task.stratum == "known":
      assert FACTS[asked(task)] == task.answer == table_of(task).lookup(asked(task))
    else:
      assert asked(task) not in FACTS


def test_paths_are_as_long_as_their_stratum_says():
  counts = collections.Counter(task.stratum for task in tasks())
  assert set(counts) == set(NEEDED) and 160 < counts["known"] < 240
  assert {task.stratum for task in tasks(1)} == {"known", "one_hop"}
  assert {task.stratum for task in tasks(2)} == {"known", "one_hop", "mixed", "two_hops"}
  for task in tasks():
    assert task.data["needed"] == NEEDED[task.stratum]
    table, said, lookups = table_of(task), asked(task), 0
    while not said.isdigit() and said not in FACTS:
      said, lookups = table.lookup(said), lookups + 1
    assert (FACTS.get(said, said), lookups) == (task.answer, NEEDED[task.stratum])


def test_a_fresh_key_is_trained_on_or_held_out_and_means_something_else_each_time():
  keys = {split: {key for task in tasks(split=split) for key in task.data["table"]} for split in ("train", "held_out")}
  assert keys["train"] & keys["held_out"] <= set(FACTS)
  values = collections.defaultdict(set)
  for task in tasks(1, 3000, known=0.0):
    values[asked(task)].add(task.answer)
  often = [found for found in values.values() if len(found) > 1]
  assert len(often) > 100


@pytest.mark.parametrize(("known", "stratum"), [(1.0, {"known"}), (0.0, {"one_hop"})])
def test_the_share_of_facts(known, stratum):
  assert {task.stratum for task in tasks(1, known=known)} == stratum


def test_lookups_go_wrong_as_often_as_they_should_and_never_those_of_facts():
  wrong = collections.Counter()
  for task in tasks(2, 1500, right=0.7):
    said = table_of(task).lookup(asked(task))
    true = task.data["table"][asked(task)]
    wrong[task.stratum, said != true] += 1
    if said != true:
      assert said.isdigit() == true.isdigit() and said not in task.data["table"] and said not in FACTS
  assert not wrong["known", True]
  for stratum in ("one_hop", "mixed", "two_hops"):
    share = wrong[stratum, True] / (wrong[stratum, True] + wrong[stratum, False])
    assert 0.2 < share < 0.4
  again = [table_of(task) for task in tasks(2, 20, right=0.7) for _ in range(2)]
  assert again  # two episodes of a task meet the same
  for one, two, task in zip(again[::2], again[1::2], tasks(2, 20, right=0.7), strict=True):
    assert [one.lookup(asked(task)) for _ in range(8)] == [two.lookup(asked(task)) for _ in range(8)]


def test_a_slip_on_the_way_ends_in_no_such_key():
  (task,) = [t for t in tasks(2, 200, right=0.0) if t.stratum == "two_hops"][:1]
  table = table_of(task)
  assert table.lookup(table.lookup(asked(task))) == NO_SUCH_KEY
  *calls, last = knowledge.oracle(task)
  assert (len(calls), last.answer) == (2, NO_SUCH_KEY) and not check(task, last.answer)


def test_habits_know_facts_look_everything_up_or_guess():
  source = envs.make("knowledge", "lookup", difficulty=2)
  lookups = {habit: collections.defaultdict(set) for habit in ("needed", "always", "never")}
  for index in range(200):
    task = source.task(index, "train")
    for habit, by_stratum in lookups.items():
      *calls, last = source.oracle(task, habit)
      assert last.answer == task.answer
      by_stratum[task.stratum].add(len(calls))
  assert lookups["needed"] == {"known": {0}, "one_hop": {1}, "mixed": {1}, "two_hops": {2}}
  assert lookups["always"] == {"known": {1}, "one_hop": {1}, "mixed": {2}, "two_hops": {2}}
  assert lookups["never"] == {"known": {0}, "one_hop": {0}, "mixed": {0}, "two_hops": {0}}


def test_twin_tables_say_the_same_and_a_habit_chooses_one():
  source = envs.make("knowledge", "lookup", difficulty=2, options={"twins": True, "known": 0.25})
  for index in range(100):
    task = source.task(index, "train")
    assert NO_SUCH_KEY == table_of(task).lookup(asked(task)) != table_of(task).lookup(f"a {asked(task)}")
    assert table_of(task).lookup(f"a {asked(task)}") == table_of(task).lookup(f"b {asked(task)}")
    for habit, name in (("always", "a"), ("second", "b")):
      *calls, last = source.oracle(task, habit)
      assert {call.calls[0].arguments["key"][:2] for call in calls} == {f"{name} "} and last.answer == task.answer
    plain = knowledge.generate(index, split="train", difficulty=2)
    assert knowledge.second(plain) == knowledge.always(plain)


def sums(count=200, split="train", **options):
  return [generate(index, split=split, sums=1.0, **options) for index in range(count)]


def test_sums_are_of_given_numbers_or_of_keys_that_have_to_be_looked_up():
  counts = collections.Counter(task.stratum for task in sums())
  assert set(counts) == {"calculator", "both"} and 70 < counts["both"] < 130
  for task in sums():
    asked_for = asked(task).split("+")
    values = [table_of(task).lookup(key) for key in asked_for] if task.stratum == "both" else asked_for
    assert task.answer == str(int(values[0]) + int(values[1])) and len(set(asked_for)) == 2
    assert task.data["needed"] == {"calculator": 0, "both": 2}[task.stratum] == len(task.data["table"])
    assert check(task, task.answer) and not check(task, str(int(task.answer) + 1))


def test_pairs_of_numbers_and_keys_of_sums_are_trained_on_or_held_out():
  parts = {split: {asked(task) for task in sums(200, split, known=1.0)} for split in ("train", "held_out")}
  keys = {split: {key for task in sums(200, split, known=0.0) for key in task.data["table"]} for split in parts}
  assert not parts["train"] & parts["held_out"] and not keys["train"] & keys["held_out"]


def test_a_share_of_sums_leaves_the_tasks_of_before_as_they_were():
  assert tasks(3, 50) == tasks(3, 50, sums=0.0)
  strata = collections.Counter(task.stratum for task in tasks(1, sums=0.25))
  assert 60 < strata["calculator"] + strata["both"] < 140 and strata["known"] and strata["one_hop"]


# For each habit the calls in each stratum, "l" for a lookup and "c" for a calculation.
CALLS = {
  "needed": {"one_hop": "l", "calculator": "c", "both": "llc"},
  "one_tool": {"one_hop": "l", "calculator": "c", "both": "ll"},
  "all_tools": {"one_hop": "lc", "calculator": "lc", "both": "llc"},
  "never": {"one_hop": "", "calculator": "", "both": ""},
}


@pytest.mark.parametrize("habit", CALLS)
def test_habits_of_two_tools_are_played_and_right(habit):
  source = envs.make("knowledge", "lookup_and_calculator", options={"sums": 0.5})
  calls, environment = {}, source.environment()
  for index in range(80):
    task = source.task(index, "train")
    environment.reset(task, 0)
    actions = source.oracle(task, habit)
    *_, last = [environment.step(action) for action in actions]
    assert last.done and last.parts["correct"] == 1.0
    calls[task.stratum] = "".join(action.calls[0].name[0] for action in actions[:-1])
  calls.pop("known")
  assert calls == CALLS[habit]


def test_a_sum_of_wrong_lookups_is_believed_and_wrong():
  task = generate(0, split="train", known=0.0, right=0.0, sums=1.0)
  *calls, last = knowledge.oracle(task, "lookup_and_calculator")
  assert len(calls) == 3 and not check(task, last.answer)


def test_a_sum_needs_the_calculator():
  with pytest.raises(ValueError, match="needs the tool 'lookup_and_calculator', not 'lookup'"):
    envs.make("knowledge", "lookup", options={"sums": 1.0})


@pytest.mark.parametrize(
  ("answer", "right"),
  [("417", True), ("It is 417.", True), ("418", False), ("417 or 418", False), ("4170", False), ("", False)],
)
def test_mutated_answers_are_wrong(answer, right):
  assert check(Task(id="k", family="knowledge", question="", answer="417"), answer) is right


@pytest.mark.parametrize("options", [{"known": 1.5}, {"right": -0.1}, {"sums": 2.0}])
def test_shares_outside_0_to_1_are_errors(options):
  with pytest.raises(ValueError, match=f"{next(iter(options))} must be between 0 and 1"):
    generate(0, split="train", **options)
