"""Who forks what: prompts, and the parts that prompts of different groups have in common."""

import dataclasses

from agentrl.types import Task
from tests.rollout.test_driver import assert_same


def with_examples(lab, shared=40):
  """Tasks whose prompts begin alike, as few-shot prompts do."""
  return dataclasses.replace(
    lab, tasks=[Task(f"s{i}", "test", "x" * shared + task.question[:12]) for i, task in enumerate(lab.tasks)]
  )


def test_prompts_of_different_groups_share_their_beginning(lab):
  few_shot = with_examples(lab)
  prompts = [len(task.question) + 1 for task in few_shot.tasks]
  got, stats, _ = few_shot.run()
  fed = sum(int((~t.action_mask & (t.turn >= 0)).sum()) + len(t.turns) for t in got)
  # Slots that get their first prompt in the same tick cannot share; every later group finds 40 of its tokens there.
  assert stats.prefilled - fed < sum(prompts)
  alone = [few_shot.run([request])[0][0] for request in few_shot.requests()]
  assert_same(got, alone)


def test_more_groups_than_slots_take_their_turn(lab):
  got, _, failures = lab.run(lab.requests(samples=7, max_tokens=60))
  assert len(got) == 7 * len(lab.tasks) and not failures
  assert [t.uid for t in got] == sorted(t.uid for t in got)


def test_a_group_is_prefilled_once_when_slots_are_scarce(lab):
  engine = dataclasses.replace(lab.driver()._engine, slots=2)
  _, stats, _ = lab.run(lab.requests(samples=4, max_turns=1), engine=engine)
  assert stats.prefilled <= sum(len(task.question) for task in lab.tasks)
