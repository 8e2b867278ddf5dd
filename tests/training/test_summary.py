"""pass@k against counting all subsets; means, intervals and rates against numbers by hand."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.rewards.combine import assign, make_reward
from agentrl.rollout.driver import RolloutStats, total
from agentrl.training import summary
from agentrl.types import (
  Failure,
  FailureKind,
  StopReason,
  Task,
  ToolCall,
  ToolFailure,
  ToolResult,
  Trajectory,
  Turn,
  TurnKind,
)

STATS = RolloutStats(sampled=40, prefilled=10, padded=3, forked=1, ticks=5, seconds=2.0)


def trajectory(group, correct, *, kinds=(TurnKind.ANSWER,), results=(), stop=StopReason.ANSWERED):
  failed = stop is StopReason.ENVIRONMENT_FAILED
  turn = np.asarray([-1, *range(len(kinds))], np.int32)
  zeros = np.zeros(len(turn), np.float32)
  turns = [Turn(kind, n + 1, n + 2, "", results=tuple(results) if n == 0 else ()) for n, kind in enumerate(kinds)]
  reward = None if failed else float(correct)
  return Trajectory(
    tokens=np.zeros(len(turn), np.int32), action_mask=turn >= 0, sampler_logp=zeros, entropy=zeros, turn=turn,
    policy_version=turn, turns=turns, task_id=f"t{group}", group_id=group, uid=0, stop=stop,
    reward_parts=None if failed else {"correct": float(correct)}, reward=reward,
  )  # fmt: skip


FAILED = dataclasses.replace(
  trajectory(0, 0, stop=StopReason.ENVIRONMENT_FAILED), failure=Failure(FailureKind.LOST, "the worker died")
)


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_counts_subsets(outcomes, data):
  k = data.draw(st.integers(1, len(outcomes)))
  subsets = list(itertools.combinations(outcomes, k))
  assert summary.pass_at_k(outcomes, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_all_k_counts_subsets(outcomes, data):
  k = data.draw(st.integers(1, len(outcomes)))
  subsets = list(itertools.combinations(outcomes, k))
  assert summary.pass_all_k(outcomes, k) == pytest.approx(sum(map(all, subsets)) / len(subsets))


def test_pass_all_k_needs_k_samples():
  with pytest.raises(ValueError, match=r"pass\^3 needs at least 3 samples of a task, got 2"):
    summary.pass_all_k([True, False], 3)


def test_pass_at_k_needs_k_samples():
  with pytest.raises(ValueError, match="pass@3 needs at least 3 samples of a task, got 2"):
    summary.pass_at_k([True, False], 3)


def test_evaluation_by_hand():
  outcomes = {0: [1, 1, 0, 0], 1: [0, 0, 0, 0], 2: [1, 1, 1, 1]}
  sampled = [trajectory(group, c) for group, row in outcomes.items() for c in row]
  metrics = summary.evaluation_metrics(sampled, 4)
  assert metrics["eval/success"] == 0.5 and metrics["eval/tasks"] == 3
  assert (metrics["eval/success_low"], metrics["eval/success_high"]) == summary.success_interval(np.array([0.5, 0, 1]))
  assert metrics["eval/pass@2"] == pytest.approx((5 / 6 + 0 + 1) / 3)  # of 6 pairs of [1, 1, 0, 0] one has no success
  assert metrics["eval/pass@4"] == pytest.approx(2 / 3)
  assert metrics["eval/pass^2"] == pytest.approx((1 / 6 + 0 + 1) / 3)  # and one of the six has two
  assert metrics["eval/pass^4"] == pytest.approx(1 / 3)
  assert not {"eval/pass@8", "eval/pass^8"} & metrics.keys()


def test_the_interval_is_wilsons_for_one_sample_per_task():
  low, high = summary.success_interval(np.array([1.0] * 8 + [0.0] * 2))
  # Roots of |p - 0.8| = 1.96 sqrt(p (1 - p) / draws): the score interval by its definition.
  draws = 10 * 0.16 / (0.16 * 10 / 9)
  for p in (low, high):
    assert abs(p - 0.8) == pytest.approx(1.96 * math.sqrt(p * (1 - p) / max(draws, 10)))
  assert low < 0.8 < high


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_interval_is_not_empty_where_all_tasks_agree(share):
  low, high = summary.success_interval(np.full(32, share))
  assert high - low == pytest.approx(1.96**2 / (32 + 1.96**2))
  assert (low == 0.0) == (share == 0.0) and (high == 1.0) == (share == 1.0)


def test_tasks_that_differ_little_give_a_narrower_interval():
  narrow, wide = np.array([0.5, 0.4, 0.6, 0.5]), np.array([1.0, 0.0, 1.0, 0.0])
  assert np.ptp(summary.success_interval(narrow)) < np.ptp(summary.success_interval(wide))


def test_failed_environments_leave_the_evaluation():
  sampled = [trajectory(0, 1), FAILED, trajectory(1, 0), trajectory(1, 0)]
  metrics = summary.evaluation_metrics(sampled, 2)
  assert metrics["eval/success"] == 0.5 and metrics["eval/environment_failures"] == 1
  assert metrics["eval/pass@2"] == 0.0  # task 0 has one sample left, and cannot tell
  assert "eval/pass@2" not in summary.evaluation_metrics([trajectory(0, 1), FAILED], 2)
  with pytest.raises(RuntimeError, match="none of the 2 trajectories"):
    summary.evaluation_metrics([FAILED, FAILED], 2)


def test_a_part_below_one_is_no_success():
  assert summary.succeeded(trajectory(0, 1.0)) and not summary.succeeded(trajectory(0, 0.5))
  assert not summary.succeeded(FAILED)
  assert not summary.succeeded(dataclasses.replace(trajectory(0, 1.0), reward_parts={"other": 1.0}))


def test_rollout_by_hand():
  call = ToolCall("calculate", {"expression": "1"})
  good, late = ToolResult(call, "1", True, None, 0.25, 3.0), ToolResult(call, "", False, ToolFailure.TIMEOUT, 0.5)
  two_turns = (TurnKind.TOOL_CALL, TurnKind.ANSWER)
  sampled = [
    trajectory(0, 1, kinds=two_turns, results=[good, late]),
    trajectory(0, 0, kinds=(TurnKind.VOID, TurnKind.MALFORMED), stop=StopReason.TURN_LIMIT),
    FAILED,
  ]
  sampled[1] = dataclasses.replace(sampled[1], sampler_logp=np.asarray([0.0, -3.5, -1.0], np.float32))
  metrics = summary.rollout_metrics(sampled, STATS)
  wanted = {
    "rollout/lost": 0.5, "rollout/least_logp": -3.5,
    "train/success": 0.5, "train/reward": 0.5, "reward/correct": 0.5, "rollout/tool_calls": 1.0, "rollout/turns": 2.0,
    "rollout/cost": 1.5,
    "rollout/void_turns": 0.25, "rollout/malformed_turns": 0.25, "rollout/length": 3.0, "rollout/action_tokens": 2.0,
    "rollout/environment_failures": 1.0, "rollout/tool_failures": 1.0, "rollout/tool_timeout": 1.0,
    "rollout/tool_exception": 0.0, "rollout/stop_turn_limit": 1 / 3, "rollout/stop_environment_failed": 1 / 3,
    "rollout/tokens_per_second": 20.0, "time/tool_s": 0.75,
  }  # fmt: skip
  assert {name: metrics[name] for name in wanted} == pytest.approx(wanted)


def test_prices_agree_in_calls_turns_parts_and_metrics():
  calls = [ToolResult(ToolCall("ask", {"question": "?"}), "1", True, cost=price) for price in (1.0, 0.5)]
  two_turns = (TurnKind.TOOL_CALL, TurnKind.ANSWER)
  sampled = [trajectory(0, 1, kinds=two_turns, results=calls), trajectory(1, 0, kinds=two_turns), FAILED]
  assert [turn.cost for turn in sampled[0].turns] == [1.5, 0.0]  # 1 + 1/2
  priced, _ = assign(make_reward({"correct": 1.0, "cost": -0.1}, {}), sampled[:2], Task("t", "tests", "?"), {})
  assert [t.reward_parts["cost"] for t in priced] == [1.5, 0.0]
  assert priced[0].reward == pytest.approx(1 - 0.1 * 1.5) and priced[0].turns[0].reward == pytest.approx(-0.15)
  rollout, evaluated = summary.rollout_metrics([*priced, FAILED], STATS), summary.evaluation_metrics(priced, 1)
  assert rollout["rollout/cost"] == rollout["reward/cost"] == 0.75  # two of three environments did not fail
  assert evaluated["eval/cost"] == evaluated["eval/reward/cost"] == 0.75


def test_a_group_is_flat_where_all_its_samples_have_one_reward():
  groups = {0: [1, 1, 1], 1: [0, 1], 2: [0, 0], 3: [1]}
  sampled = [trajectory(group, correct) for group, row in groups.items() for correct in row]
  assert summary.rollout_metrics([*sampled, FAILED], STATS)["rollout/flat_groups"] == 3


def test_a_step_of_failures_alone_counts_them():
  kinds = {"raised": 0, "deadline": 0, "lost": 2, "answer": 0, "changed": 0, "reward": 0}
  assert summary.rollout_metrics([FAILED, FAILED], STATS) == {
    "rollout/trajectories": 2, "rollout/environment_failures": 2,
    **{f"rollout/failed_{kind}": count for kind, count in kinds.items()},
  }  # fmt: skip
  assert summary.rollout_metrics([], STATS)["rollout/trajectories"] == 0


def test_failures_are_counted_by_their_kind():
  late = dataclasses.replace(FAILED, failure=Failure(FailureKind.DEADLINE, "no answer"))
  metrics = summary.rollout_metrics([FAILED, late, late, trajectory(0, 1)], STATS)
  assert (metrics["rollout/failed_lost"], metrics["rollout/failed_deadline"], metrics["rollout/failed_raised"]) == (
    1,
    2,
    0,
  )
  evaluated = summary.evaluation_metrics([FAILED, late, trajectory(1, 1)], 1)
  assert (evaluated["eval/failed_lost"], evaluated["eval/failed_deadline"]) == (1, 1)


def test_costs_of_rounds_add_up():
  assert total([STATS, STATS]) == RolloutStats(80, 20, 6, 2, 10, 4.0)


def test_tool_calls_and_entropies_by_hand():
  """A trunk of two calls and an answer, and a branch behind the second call's result; three tokens to a turn."""
  result = ToolResult(ToolCall("lookup", {"key": "a"}), "1", True)
  kinds = (TurnKind.TOOL_CALL, TurnKind.TOOL_CALL, TurnKind.ANSWER)
  turns = [Turn(k, 2 + 4 * n, 5 + 4 * n, "", results=(result,) * (n < 2)) for n, k in enumerate(kinds)]
  sampled = np.asarray([False] * 2 + [True, True, True, False] * 2 + [True] * 3)
  entropy = np.where(sampled, np.arange(13), 0).astype(np.float32)
  trunk = dataclasses.replace(
    trajectory(0, 1), tokens=np.zeros(13, np.int32), action_mask=sampled, entropy=entropy, turns=turns,
    turn=np.asarray([-1] * 2 + [0] * 4 + [1] * 4 + [2] * 3), uid=5,
  )  # fmt: skip
  own = np.where(np.arange(13) >= 10, 1.0, entropy).astype(np.float32)
  branch = dataclasses.replace(trunk, uid=6, parent=5, fork_at=10, entropy=own)
  metrics = summary.tool_metrics([trunk, branch, trajectory(1, 0)], window=2)
  wanted = {
    "rollout/branches": 0.5,
    "rollout/tool_calls_made": 2.0,  # the branch's own two turns are its parent's
    "rollout/tool_calls_replayed": 2.0,
    "rollout/entropy_start": (2 + 3 + 0) / 3,  # the trajectory of the other group has one token of entropy 0
    "rollout/entropy_after_tool": (6 + 7 + 10 + 11 + 1 + 1) / 6,
    "rollout/entropy_change": (8 + 16 - 3) / 3,  # (6 + 7) - (2 + 3), (10 + 11) - 5, (1 + 1) - 5
  }
  assert metrics == pytest.approx(wanted)
  assert summary.calls_made([trunk, branch]) == 2


def test_without_tool_results_there_is_nothing_behind_them():
  metrics = summary.tool_metrics([trajectory(0, 1)], window=2)
  assert metrics["rollout/branches"] == metrics["rollout/tool_calls_made"] == 0
  assert "rollout/entropy_change" not in metrics and "rollout/entropy_after_tool" not in metrics


def test_searches_count_every_sampled_token():
  found = [trajectory(0, 1), trajectory(0, 0), trajectory(1, 1), trajectory(1, 1)]
  metrics = summary.searched_metrics(found, 2, STATS)
  assert metrics["eval_search/success"] == 0.75
  assert metrics["eval_search/generated_tokens"] == 40 / 4  # of STATS, though each path has one action token
  assert summary.evaluation_metrics(found, 2)["eval/generated_tokens"] == 1.0


def test_strata_weighed_by_their_tasks_give_the_totals():
  names = {0: "known", 1: "known", 2: "unknown", 3: "known"}
  tasks = {group: Task(f"t{group}", "test", "?", stratum=stratum) for group, stratum in names.items()}
  call = ToolResult(ToolCall("look", {}), "7", True, cost=0.5)
  correct = {0: [1, 0], 1: [1, 1], 2: [0, 0], 3: [1, 1]}
  sampled = [
    trajectory(group, c, results=[call] * (group + n))
    for group, outcomes in correct.items()
    for n, c in enumerate(outcomes)
  ]
  strata, total = summary.stratum_metrics(sampled, tasks, "eval"), summary.evaluation_metrics(sampled, 2)
  assert strata["eval/known/success"] == pytest.approx(5 / 6) and strata["eval/unknown/success"] == 0.0
  assert strata["eval/known/tool_calls"] == pytest.approx((0 + 1 + 1 + 2 + 3 + 4) / 6)
  for name in ("success", "tool_calls", "cost", "return"):
    weighed = [strata[f"eval/{s}/tasks"] * strata[f"eval/{s}/{name}"] for s in ("known", "unknown")]
    assert sum(weighed) / total["eval/tasks"] == pytest.approx(total[f"eval/{name}"])
  trained, of_step = summary.stratum_metrics(sampled, tasks, "train"), summary.rollout_metrics(sampled, STATS)
  assert total["eval/cost"] == 0.5 * total["eval/tool_calls"]
  totals = {
    "success": "train/success",
    "tool_calls": "rollout/tool_calls",
    "cost": "rollout/cost",
    "return": "train/reward",
  }
  for name, whole in totals.items():
    weighed = [trained[f"train/{s}/tasks"] * trained[f"train/{s}/{name}"] for s in ("known", "unknown")]
    assert sum(weighed) / 4 == pytest.approx(of_step[whole])


def test_strata_leave_out_failures_and_tasks_without_one():
  tasks = {0: Task("t0", "test", "?", stratum="known"), 1: Task("t1", "test", "?")}
  sampled = [trajectory(0, 1), FAILED, trajectory(1, 0)]
  assert summary.stratum_metrics(sampled, tasks, "eval") == {
    "eval/known/success": 1.0, "eval/known/tool_calls": 0.0, "eval/known/cost": 0.0, "eval/known/return": 1.0,
    "eval/known/tasks": 1.0,
  }  # fmt: skip


def test_an_entry_of_a_mixture_is_measured_by_its_tasks():
  entries = {0: "sums", 1: "sums", 2: "keys", 3: "keys"}
  tasks = {group: Task(f"t{group}", "test", "?", entry=entry) for group, entry in entries.items()}
  sampled = [trajectory(0, 1), trajectory(0, 1), trajectory(1, 0), trajectory(2, 1), trajectory(2, 0)]
  sampled += [dataclasses.replace(FAILED, group_id=group) for group in (1, 3)]
  assert summary.by_entry(sampled, tasks, summary.succeeded) == {"keys": 0.5, "sums": 0.5}
  priced = [dataclasses.replace(t, reward=None if t.failed else t.reward - 0.5) for t in sampled]
  assert summary.entry_metrics(priced, tasks) == {
    "train/success/sums": 0.5, "train/success/keys": 0.5, "train/reward/sums": 0.0, "train/reward/keys": 0.0,
  }  # fmt: skip
  plain = {group: dataclasses.replace(task, entry="") for group, task in tasks.items()}
  assert summary.entry_metrics(priced, plain) == {}
