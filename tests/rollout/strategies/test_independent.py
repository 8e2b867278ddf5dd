"""Who forks what: prompts, and the parts that prompts of different groups have in common."""

import dataclasses

import jax
import pytest

from agentrl.rollout.episode import RequestQueue
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.workers import Call, WorkerPool
from agentrl.types import Task
from tests.rollout.conftest import ENGINE, Counting
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


class AtOnce(WorkerPool):
  """Calls are over when they are submitted: the fastest tools there can be."""

  def submit(self, function, *args, seconds):
    call = Call(seconds)
    call.set_result(function(*args))
    return call


@pytest.mark.parametrize("slots", [1, 2])
def test_requests_outlast_slots_that_all_finish_in_one_step(lab, slots):
  engine = dataclasses.replace(ENGINE, slots=slots)
  requests = lab.requests(samples=2, max_turns=1)
  pool = AtOnce(1)
  strategy = Independent(
    RequestQueue(requests),
    engine=engine,
    chat=lab.chat,
    make_environment=lambda: Counting(lambda calls: None),
    pool=pool,
    environment_seconds=5.0,
  )
  lab.driver(engine).run({"policy": lab.params}, jax.random.key(7), [strategy])
  pool.close()
  assert len(strategy.trajectories) == len(requests)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_turn_that_does_not_end_is_acted_upon_as_it_stands(lab, compiled):
  """Turns of a limit that no multiple of the ticks' tokens is; without one the same policy babbles on."""
  free = {t.uid: t for t in lab.run()[0]}
  requests = [dataclasses.replace(request, turn_tokens=7) for request in lab.requests()]
  got, _, failures = lab.run(requests, compiled=compiled)
  assert not failures
  assert max(turn.end - turn.start for t in free.values() for turn in t.turns) > 7
  assert all(turn.end - turn.start <= 7 for t in got for turn in t.turns)
  cut = [turn for t in got for turn in t.turns if turn.end - turn.start == 7 and turn.observation]
  assert cut
  for t in got:
    first, alone = t.turns[0], free[t.uid].turns[0]
    assert t.tokens[: first.end].tolist() == free[t.uid].tokens[: first.end].tolist()
    assert first.end == min(alone.end, first.start + 7)
