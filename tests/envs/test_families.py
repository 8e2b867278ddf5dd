"""What every task family owes: purity, disjoint splits, an oracle that is right, a checker that never raises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl import envs
from agentrl.envs import families
from agentrl.types import TurnKind

# Family, its difficulties, its tool, and what makes two of its tasks the same.
FAMILIES = [
  ("arithmetic", (1, 2, 3), "calculator", lambda task: task.data["expression"]),
  ("countdown", (1, 2, 3, 4), "calculator", lambda task: task.data["target"]),
  ("experts", (1,), "experts", lambda task: task.data["thing"]),
  ("key_lookup", (1, 2, 3), "lookup", lambda task: task.question.split("What is")[1]),
  # Facts are the same in both splits.
  ("knowledge", (1, 2, 3), "lookup", lambda task: task.id if task.stratum == "known" else task.question),
  ("word_problems", (1, 2, 3, 4), "calculator", lambda task: task.data["expression"] + task.data["kind"]),
]
each = pytest.mark.parametrize(("family", "difficulties", "tool", "content"), FAMILIES, ids=[f[0] for f in FAMILIES])


def test_every_family_is_listed():
  with_extras = [name for name, family in families.QUESTIONS.items() if family.extra]  # their own tests ask the same
  assert sorted(families.FAMILIES) == sorted([*(row[0] for row in FAMILIES), *with_extras, *families.WORLDS])
  with pytest.raises(ValueError, match=r"no task family is called 'aritmetic': did you mean 'arithmetic'\?"):
    families.load("aritmetic")


@each
def test_splits_are_disjoint_over_difficulties_seeds_and_thousands(family, difficulties, tool, content):
  generate = families.load(family).generate
  seen = {
    split: {
      content(generate(index, split=split, difficulty=difficulty, seed=seed))
      for difficulty in difficulties
      for seed, count in ((0, 500), (1, 100))
      for index in range(count)
    }
    for split in ("train", "held_out")
  }
  assert not seen["train"] & seen["held_out"]
  assert len(seen["train"]) > 100
  assert len(seen["held_out"]) > 100


@each
def test_tasks_are_pure_json_ascii_and_named(family, difficulties, tool, content):
  generate = families.load(family).generate
  ids = set()
  for difficulty in difficulties:
    for index in range(50):
      task = generate(index, split="train", difficulty=difficulty)
      assert task == generate(index, split="train", difficulty=difficulty)
      assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
      assert task.question.isascii()
      assert (task.family, task.difficulty) == (family, difficulty)
      ids.add(task.id)
  assert len(ids) == 50 * len(difficulties)
  assert generate(0, split="train") != generate(0, split="train", seed=1)


@each
def test_the_oracle_solves_every_task_with_its_tool(family, difficulties, tool, content):
  for difficulty in difficulties:
    source = envs.make(family, tool, difficulty=difficulty)
    for index in range(40):
      task = source.task(index, "held_out")
      *calls, last = source.oracle(task)
      environment = source.environment()
      environment.reset(task, 0)
      assert all(environment.step(call).ok for call in calls)
      observation = environment.step(last)
      assert (last.kind, observation.parts) == (TurnKind.ANSWER, {"correct": 1.0})


@each
def test_wrong_answers_are_wrong(family, difficulties, tool, content):
  module = families.load(family)
  for difficulty in difficulties:
    for index in range(20):
      task = module.generate(index, split="train", difficulty=difficulty)
      for answer in ("", "I do not know", "0.123", "1/0", "((((", "unknown?!0", "=", "." * 50):
        assert not module.check(task, answer)


@each
@given(text=st.text(max_size=40))
def test_no_answer_breaks_the_checker(family, difficulties, tool, content, text):
  module = families.load(family)
  assert module.check(module.generate(0, split="train"), text) in (True, False)


@each
def test_wrong_splits_difficulties_and_tools_are_errors(family, difficulties, tool, content):
  module = families.load(family)
  with pytest.raises(ValueError, match="no split is called 'test'"):
    module.generate(0, split="test")
  for difficulty in (0, max(difficulties) + 1):
    known = f"difficulties 1 to {max(difficulties)}" if len(difficulties) > 1 else "difficulty 1 alone"
    with pytest.raises(ValueError, match=f"{family} has {known}, not {difficulty}"):
      module.generate(0, split="train", difficulty=difficulty)
  hardest = module.generate(0, split="train", difficulty=max(difficulties))
  with pytest.raises(ValueError, match="cannot be solved with the tool 'hammer'"):
    module.oracle(hardest, "hammer")
