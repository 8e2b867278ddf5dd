import contextlib

import pytest

from agentrl import envs
from agentrl.envs.tasks import experts
from agentrl.envs.tasks.experts import EXPERTS, HABITS, TOPICS, check, generate, oracle
from agentrl.types import TurnKind


def tasks(count=300, split="train", **options):
  return [generate(index, split=split, **options) for index in range(count)]


def asked(actions):
  return [action.calls[0].arguments["question"].partition(":")[0] for action in actions[:-1]]


def says(task):
  """What each expert says of the thing, by name."""
  return {name: expert["says"][task.data["thing"]] for name, expert in task.data["experts"].items()}


def play(task, actions):
  """The parts at the end, and what it cost."""
  with contextlib.closing(envs.make("experts", "experts").environment()) as environment:
    assert environment.reset(task, 0)[-1].content == f"What is {task.data['thing']}?"
    seen = [environment.step(action) for action in actions]
  assert seen[-1].done and all(observation.ok for observation in seen)
  return seen[-1].parts, sum(result.cost for observation in seen for result in observation.results)


def test_a_task_is_a_pure_function_of_its_arguments():
  assert tasks(20) == tasks(20)
  assert tasks(20, seed=1) != tasks(20)


def test_no_thing_is_in_both_splits():
  train, held_out = ({task.data["thing"] for task in tasks(2000, split)} for split in ("train", "held_out"))
  assert not train & held_out


def test_the_first_letter_is_the_topic_and_the_stratum():
  made = tasks()
  assert all(task.stratum == TOPICS[task.data["thing"][0]] for task in made)
  assert {task.stratum for task in made} == set(TOPICS.values())


def test_an_expert_knows_his_topics_and_little_else():
  made = tasks(3000)
  for name, expert in EXPERTS.items():
    own = [says(task)[name] == task.answer for task in made if task.stratum in expert.topics]
    others = [says(task)[name] == task.answer for task in made if task.stratum not in expert.topics]
    assert 0.87 < sum(own) / len(own) < 0.93  # 0.9, with a deviation of 0.01 or less in 1000 or more draws
    assert not others or 0.07 < sum(others) / len(others) < 0.13
  ignorant = [said for task in made for said in says(task).values() if said != task.answer]
  assert 0.78 < ignorant.count("?") / len(ignorant) < 0.82


def test_probabilities_of_0_and_1_are_exact():
  for task in tasks(100, inside=1.0, outside=0.0, admits=1.0):
    knowing = {name for name, expert in EXPERTS.items() if task.stratum in expert.topics}
    assert says(task) == {name: task.answer if name in knowing else "?" for name in EXPERTS}
  assert all("?" not in says(task).values() for task in tasks(100, admits=0.0))


def test_the_oracle_asks_the_cheapest_who_knows():
  for task in tasks(100):
    knowing = [name for name in EXPERTS if says(task)[name] == task.answer]
    parts, cost = play(task, oracle(task))
    assert parts == {"correct": 1.0} and asked(oracle(task)) == (knowing[:1] or list(EXPERTS))
    assert cost == (EXPERTS[knowing[0]].price if knowing else 15.0)


def test_at_random_asks_on_until_somebody_says_a_number():
  first = set()
  for task in tasks(100):
    actions = HABITS["at_random"](task)
    names, said = asked(actions), says(task)
    assert len(set(names)) == len(names)
    assert all(said[name] == "?" for name in names[:-1]) and (said[names[-1]] != "?" or len(names) == len(EXPERTS))
    assert actions[-1].answer == said[names[-1]]
    first.add(names[0])
  assert first == set(EXPERTS)


@pytest.mark.parametrize("habit", ["by_topic", *(f"only_{name}" for name in EXPERTS)])
def test_a_router_of_one_round_believes_whom_it_asks(habit):
  cheapest = {"art": "ann", "botany": "ann", "chess": "bob", "dance": "bob", "ethics": "cid", "film": "dan"}
  for task in tasks(50):
    actions = HABITS[habit](task)
    name = cheapest[task.stratum] if habit == "by_topic" else habit.removeprefix("only_")
    assert asked(actions) == [name] and actions[-1].answer == says(task)[name]
    assert play(task, actions) == ({"correct": float(says(task)[name] == task.answer)}, EXPERTS[name].price)


def test_once_believes_anybody():
  names = [asked(HABITS["once"](task)) for task in tasks(100)]
  assert {len(whom) for whom in names} == {1} and {whom[0] for whom in names} == set(EXPERTS)
  assert all(
    HABITS["once"](task)[-1].answer == says(task)[whom[0]] for task, whom in zip(tasks(100), names, strict=True)
  )


def test_what_a_thing_costs_by_topic_is_3_on_average():
  prices = [min(expert.price for expert in EXPERTS.values() if topic in expert.topics) for topic in TOPICS.values()]
  assert sum(prices) / len(prices) == 3.0  # (1 + 1 + 2 + 2 + 4 + 8) / 6, as the docstring says


@pytest.mark.parametrize(
  ("habit", "success", "cost"),
  [
    ("only_dan", 0.9, 8.0),
    ("by_topic", 0.9, 3.0),
    ("only_ann", (2 * 0.9 + 4 * 0.1) / 6, 1.0),  # two topics of six
    ("once", (13 * 0.9 + 11 * 0.1) / 24, 15 / 4),  # 2 + 3 + 2 + 6 of 24 pairs of an expert and a topic
  ],
)
def test_what_a_router_without_training_gets(habit, success, cost):
  made = tasks(3000, "held_out")
  played = [HABITS[habit](task) for task in made]
  right = [check(task, actions[-1].answer) for task, actions in zip(made, played, strict=True)]
  paid = [sum(EXPERTS[name].price for name in asked(actions)) for actions in played]
  assert sum(right) / 3000 == pytest.approx(success, abs=0.03)  # a deviation of 0.009 at most
  assert sum(paid) / 3000 == pytest.approx(cost, abs=0.15)


def test_a_mutated_answer_is_wrong():
  for task in tasks(100):
    assert check(task, task.answer) and check(task, f"It is {task.answer}.")
    others = {said for said in says(task).values() if said != task.answer}
    for wrong in {task.answer[:-1], task.answer + "0", str(int(task.answer) + 1), "", "?", task.data["thing"], *others}:
      assert not check(task, wrong)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"difficulty": 2}, "experts has difficulty 1 alone, not 2"),
    ({"inside": 1.5}, "inside must be between 0 and 1, got 1.5"),
    ({"outside": -1}, "outside must be between 0 and 1"),
    ({"admits": 2}, "admits must be between 0 and 1"),
    ({"split": "test"}, "no split is called 'test'"),
  ],
)
def test_wrong_options_are_refused(options, words):
  with pytest.raises(ValueError, match=words):
    generate(0, **({"split": "train"} | options))


def test_another_tool_asks_nobody():
  for habit in (experts.oracle, *HABITS.values()):
    with pytest.raises(ValueError, match="cannot be solved with the tool 'lookup'; use experts"):
      habit(tasks(1)[0], "lookup")


def test_demonstrations_end_with_the_answer():
  for habit in HABITS.values():
    assert [action.kind for action in habit(tasks(1)[0])][-1] is TurnKind.ANSWER
