"""What is not finite is named: in samples, metrics and learner states, with the step and what is left of the run."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.algorithms.contract import LearnerState
from agentrl.ops.finite import NonFinite
from agentrl.training import guards
from agentrl.types import StopReason, Trajectory, Turn, TurnKind

MASK = np.asarray([False, True, True])
SAMPLE = Trajectory(
  tokens=np.zeros(3, np.int32), action_mask=MASK, sampler_logp=np.asarray([np.nan, -1.0, -2.0], np.float32),
  entropy=np.asarray([np.nan, 0.5, 0.1], np.float32), turn=np.asarray([-1, 0, 0], np.int32),
  policy_version=np.zeros(3, np.int32), turns=(Turn(TurnKind.ANSWER, 1, 3, ""),), task_id="sum", group_id=0, uid=7,
  stop=StopReason.ANSWERED, reward_parts={"correct": 1.0}, reward=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
  ("change", "named"),
  [
    ({"reward": np.nan}, "reward of"),
    ({"reward_parts": {"correct": 1.0, "length": np.inf}}, "reward part length of"),
    ({"turns": (SAMPLE.turns[0], dataclasses.replace(SAMPLE.turns[0], reward=-np.inf))}, "reward of turn 1 of"),
    ({"sampler_logp": np.asarray([0.0, -1.0, -np.inf])}, "sampler_logp of"),
    ({"entropy": np.asarray([0.0, np.nan, 0.0])}, "entropy of"),
  ],
)
def test_samples_are_named_with_what_is_wrong(change, named):
  with pytest.raises(NonFinite, match=rf"^{named} trajectory 7 \(task sum\) is not finite$"):
    guards.require_finite_samples([SAMPLE, dataclasses.replace(SAMPLE, **change)])


def test_only_what_was_sampled_is_looked_at_and_a_failed_environment_has_no_reward():
  guards.require_finite_samples([SAMPLE, dataclasses.replace(SAMPLE, reward=None, reward_parts=None)])


def test_metrics_are_named_with_their_values():
  guards.require_finite_metrics({"policy/loss": 0.0})
  with pytest.raises(NonFinite, match=r"policy/loss is nan, value/error is inf$"):
    guards.require_finite_metrics({"policy/loss": float("nan"), "a/b": 1.0, "value/error": float("inf")})


def test_states_are_named_by_path():
  params = {"policy": {"embed": jnp.ones(2)}, "value": jnp.ones(())}
  state = LearnerState(params, {"mu": params}, None, jnp.int32(3))
  guards.require_finite_state(state)
  spoiled = {**params, "value": jnp.float32(np.nan)}
  with pytest.raises(NonFinite, match=r"^of the learner's state params/value is not finite \(and 1 more after it\)$"):
    guards.require_finite_state(state._replace(params=spoiled, opt_state={"mu": spoiled}))


@pytest.mark.parametrize(("saved", "left"), [([2, 4], "of step 4, is as it was"), ([], "There is no checkpoint yet")])
def test_the_error_tells_step_samples_and_what_is_left(saved, left):
  with pytest.raises(NonFinite) as ended:
    with guards.ending_the_run(5, lambda: saved), guards.keeping_samples(lambda: pathlib.Path("train_000004.jsonl.gz")):
      raise NonFinite("gradient/policy/embed is not finite")
  message = str(ended.value)
  assert message.startswith("step 5: gradient/policy/embed is not finite\nIts samples are in train_000004.jsonl.gz\n")
  assert left in message


def test_other_errors_pass_as_they_are():
  with pytest.raises(ValueError, match=r"^mine$"):
    with guards.ending_the_run(5, list), guards.keeping_samples(pathlib.Path):
      raise ValueError("mine")
