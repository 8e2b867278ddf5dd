"""Authored traces: the oracle's, solved, and as a policy would have written them."""

import pytest

from agentrl.training.cold_start import authored_traces
from agentrl.types import TurnKind


@pytest.fixture(scope="module")
def parts(tiny_assembly):
  return tiny_assembly()


def traces(parts, indices=range(40), direct_share=0.5, seed=0):
  return authored_traces(parts.tasks, parts.chat, indices, direct_share=direct_share, seed=seed)


def test_traces_solve_their_tasks(parts):
  got, tasks = traces(parts, range(5, 25))
  assert list(tasks) == list(range(5, 25)) == [t.group_id for t in got]
  assert all(t.reward_parts == {"correct": 1.0} and t.reward is None for t in got)
  assert all(tasks[t.group_id] == parts.tasks.task(t.group_id, "train") for t in got)


def test_actions_and_nothing_else_are_trained_on(parts):
  for trace in traces(parts, range(6))[0]:
    written = [parts.chat.parse(trace.tokens[turn.start : turn.end].tolist()) for turn in trace.turns]
    assert [action.kind for action in written] == [turn.kind for turn in trace.turns]
    assert trace.action_mask.sum() == sum(turn.end - turn.start for turn in trace.turns)
    assert all(trace.action_mask[turn.start : turn.end].all() for turn in trace.turns)
    assert not trace.sampler_logp.any()


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (1.0, 40, 40), (0.5, 10, 30)])
def test_direct_share_answers_at_once(parts, share, least, most):
  direct = [t for t in traces(parts, direct_share=share)[0] if [turn.kind for turn in t.turns] == [TurnKind.ANSWER]]
  assert least <= len(direct) <= most
  assert all(not turn.results for t in direct for turn in t.turns)


def test_which_answer_at_once_depends_on_seed_and_index_alone(parts):
  def choice(indices, seed):
    return {t.group_id: len(t.turns) for t in traces(parts, indices, seed=seed)[0]}

  assert choice(range(40), 0) == {**choice(range(20), 0), **choice(range(20, 40), 0)}
  assert choice(range(40), 0) != choice(range(40), 1)
