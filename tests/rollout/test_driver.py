"""The promises of the rollout: the same trajectories, whatever slot, neighbour, order, latency or driver they met."""

import dataclasses
import re
import threading

import jax
import numpy as np
import pytest

from agentrl.rollout import driver, engine
from agentrl.training import sharding
from agentrl.types import FailureKind, StopReason, TurnKind
from tests.rollout.conftest import ENGINE, one_device, sleepy


def assert_same(got, wanted, atol=0.0):
  assert [t.uid for t in got] == [t.uid for t in wanted]
  for a, b in zip(got, wanted, strict=True):
    np.testing.assert_array_equal(a.tokens, b.tokens)
    np.testing.assert_array_equal(a.action_mask, b.action_mask)
    np.testing.assert_allclose(a.sampler_logp, b.sampler_logp, rtol=0, atol=atol)
    np.testing.assert_allclose(a.entropy, b.entropy, rtol=0, atol=atol)
    assert a.stop is b.stop


@pytest.fixture(scope="module")
def baseline(lab):
  return lab.run()[0]


def test_the_baseline_meets_tools_answers_and_limits(baseline):
  stops = {t.stop for t in baseline}
  assert StopReason.ANSWERED in stops and len(stops) > 1
  assert any(turn.kind is TurnKind.TOOL_CALL for t in baseline for turn in t.turns)


def test_python_driver_is_bitwise_equal(lab, baseline):
  assert_same(lab.run(compiled=False)[0], baseline)


def test_order_of_requests_is_bitwise_equal(lab, baseline):
  assert_same(lab.run(lab.requests(shuffle=3))[0], baseline)


def test_tool_latency_is_bitwise_equal(lab, baseline):
  assert_same(lab.run(behave=sleepy(0, 0.02))[0], baseline)


def test_tool_latency_is_bitwise_equal_when_slots_share_rows(lab):
  shared = dataclasses.replace(ENGINE, decode_rows=4)
  assert_same(lab.run(engine=shared, behave=sleepy(0, 0.02))[0], lab.run(engine=shared)[0])


@pytest.mark.parametrize(
  "change", [{"slots": 3}, {"slots": 16, "decode_tokens": 9}, {"prefill_rows": 2}, {"decode_rows": 2}]
)
def test_other_engine_shapes_change_nothing_but_rounding(lab, baseline, change):
  assert_same(lab.run(engine=dataclasses.replace(ENGINE, **change))[0], baseline, atol=2e-5)


@pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 (virtual) devices: scripts/test.sh --devices 8")
@pytest.mark.parametrize("shape", [{"data": 8}, {"data": 4, "fsdp": 2}])
def test_eight_devices_equal_one(lab, baseline, shape):
  assert_same(lab.run(mesh=sharding.make_mesh(**shape))[0], baseline)


@pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 (virtual) devices: scripts/test.sh --devices 8")
def test_python_driver_under_a_tensor_axis(lab, baseline):
  assert_same(lab.run(mesh=sharding.make_mesh(2, 2, 2), compiled=False)[0], baseline, atol=2e-5)
  with pytest.raises(ValueError, match="compiled=False"):
    lab.run(mesh=sharding.make_mesh(2, 2, 2))


def test_forked_prompts_equal_prompts_fed_anew(lab, baseline):
  """One sample per rollout never forks: every prompt is prefilled by itself."""
  by_uid = {}
  for request in lab.requests():
    (trajectory,), stats, _ = lab.run([request])
    assert stats.forked == 0
    by_uid[trajectory.uid] = trajectory
  assert_same([by_uid[t.uid] for t in baseline], baseline)


def test_groups_prefill_their_prompt_once(lab):
  requests = lab.requests(samples=6)
  _, stats, _ = lab.run(requests)
  prompts = sum(len(task.question) + 1 for task in lab.tasks)
  # All but the last token of a prompt is prefilled, once; tool outputs are fed too, so bound from below by slack.
  trajectories, _, _ = lab.run(requests)
  fed = sum(int((~t.action_mask & (t.turn >= 0)).sum()) + len(t.turns) for t in trajectories)
  assert stats.prefilled <= prompts + fed
  assert stats.forked > 0


def test_cost_per_rollout_is_counted(lab):
  trajectories, stats, _ = lab.run()
  assert stats.sampled >= sum(int(t.action_mask.sum()) for t in trajectories)
  assert stats.ticks > 0 and stats.seconds > 0


def test_one_silent_tool_costs_its_own_trajectory_alone(lab, baseline):
  """An environment that never answers passes its deadline and fails; every other trajectory is as it was."""

  release = threading.Event()

  def stuck(calls):
    if calls == 2:
      release.wait()

  got, _, failures = lab.run(behave=stuck, seconds=1.0)
  release.set()
  failed = {t.uid for t in got if t.failed}
  assert failed and len(failures) == len(failed)
  assert all(t.reward_parts is None for t in got if t.failed)
  assert_same([t for t in got if t.uid not in failed], [t for t in baseline if t.uid not in failed])


def test_a_raising_environment_fails_its_own_trajectory_alone(lab, baseline):
  def broken(calls):
    if calls == 1:
      raise OSError("the disk is gone")

  got, _, failures = lab.run(behave=broken)
  called = {t.uid for t in baseline if any(turn.kind is not TurnKind.ANSWER for turn in t.turns[:-1])}
  failed = {t.uid for t in got if t.failed}
  assert failed >= called and "the disk is gone" in str(failures[0])
  assert_same([t for t in got if t.uid not in failed], [t for t in baseline if t.uid not in failed])


def test_an_error_in_the_strategy_surfaces_after_the_loop(lab):
  class Broken:
    trajectories = ()

    def step(self, events):
      raise KeyError("a bug in a strategy")

  for compiled in (True, False):
    with pytest.raises(KeyError, match="a bug in a strategy"):
      lab.driver(compiled=compiled).run({"policy": lab.params}, jax.random.key(0), [Broken()])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"fork_from": [1, 2, 2, 3, 4, 5]}, "forked over in the same tick"),
    ({"length": [9, -1, -1, -1, -1, -1]}, "rewind forward"),
    ({"feed_count": [0, 17, 0, 0, 0, 0]}, "feed_tokens=16"),
    ({"active": [True, False, False, False, False, False]}, "without a prompt"),
  ],
)
def test_commands_that_cannot_be_carried_out_are_refused(change, message):
  commands = engine.no_commands(ENGINE)._replace(**{k: np.asarray(v) for k, v in change.items()})
  with pytest.raises(ValueError, match=message):
    driver.check_commands(commands, np.zeros(6, int), ENGINE)


def test_too_long_a_prompt_names_the_task_and_the_setting(lab):
  requests = lab.requests(max_tokens=6)
  trajectories, _, failures = lab.run(requests)
  assert len(trajectories) == len(failures) == len(requests)
  for t in trajectories:
    assert (t.failed, t.failure.kind) == (True, FailureKind.PROMPT)
    assert re.search(r"task t\d.*rollout.max_tokens", t.failure.reason)


def test_one_driver_serves_all_who_ask_for_the_same(lab):
  drivers, pauses = driver.Drivers(lab.model, ENGINE, mesh=one_device()), lab.chat.pause_table()
  assert drivers(pauses) is drivers(pauses.copy())
  assert drivers(pauses) is not drivers(~pauses)
  assert drivers(pauses) is not drivers(pauses, lambda params, hidden: hidden[:, 0])
