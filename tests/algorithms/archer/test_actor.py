"""The actor: it learns, and not before its critics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from archer_probe import SETTINGS, make, train
from ml_collections import ConfigDict

from agentrl.algorithms import archer
from agentrl.algorithms.archer.actor import actor_terms
from agentrl.algorithms.forward import Outputs
from agentrl.training import config_values
from agentrl.types import Batch


@pytest.mark.parametrize(
  "overrides",
  [
    {"critic": {"encoder": "policy"}},
    {"actor": {"token_baseline": True}},
    {"critic": {"expectile": 0.7, "clipped_double_q": True}},
    {"critic": {"likelihood": True}},
  ],
  ids=["trunk", "token_baseline", "expectile_clipped", "likelihood"],
)
def test_learns_to_repeat_the_prompt(params, overrides):
  _, returns, metrics = train(make(**overrides), params, 40)
  assert np.mean(returns[:5]) < 0.4
  assert np.mean(returns[-5:]) > 0.85, returns
  assert all(np.isfinite(value) for value in metrics.values())
  assert metrics["sampler/logp_diff_max"] < 0.5  # at most what the steps of one micro-batch may move


def test_the_policy_waits_for_its_critic(params):
  algorithm = make(actor={"warmup": 2})
  state, _, metrics = train(algorithm, params, 2)
  jax.tree.map(np.testing.assert_array_equal, state.params["policy"], params)
  assert "actor/advantage" not in metrics
  state, _, metrics = train(algorithm, params, 3)
  assert not np.array_equal(state.params["policy"]["embed"], params["embed"]) and "actor/advantage" in metrics


def test_without_actor_steps_the_policy_stays_as_it_is(params):
  algorithm = make(actor={"updates": 0, "warmup": 0})
  state, _, metrics = train(algorithm, params, 2)
  jax.tree.map(np.testing.assert_array_equal, state.params["policy"], params)
  assert "actor/advantage" not in metrics and metrics["critic/grad_norm"] > 0.0
  assert archer.optimizer_steps(ConfigDict({"actor": {"updates": 0, "warmup": 0}}), 9) == 0


def test_the_token_baseline_is_a_head_that_takes_its_part_of_the_advantages():
  """Advantages 1 and values 0.25: -(1 - 0.25) log pi, and the squared error of the head."""
  cfg = config_values.resolve(SETTINGS, {"actor": {"token_baseline": True}}, where="test")
  surrogate, baseline = actor_terms(cfg)
  logp, ones = jnp.asarray([[-2.0, -0.5]]), jnp.ones((1, 2))
  out = Outputs(jnp.zeros((1, 2, 4)), logp, ones, {"value": 0.25 * ones})
  micro = Batch(
    *[jnp.zeros((1, 2), jnp.int32)] * 6, jnp.ones((1, 2), bool), jnp.zeros((1, 2), jnp.int32), jnp.asarray([2.0]),
    jnp.asarray([0]), jnp.float32(1.0), jnp.int32(1), {"advantages": ones, "old_logp": logp, "sampler_logp": logp},
  )  # fmt: skip
  np.testing.assert_allclose(surrogate.per_token(out, micro)[0], -0.75 * logp)
  error, found = baseline.per_token(out, micro)
  np.testing.assert_allclose(error, [[0.75**2, 0.75**2]])
  assert found["value/loss"] is error and not baseline.heads["value"].acting
