"""Schedules, clipping and paces of the optimiser, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.algorithms.contract import HeadSpec
from agentrl.training.build.optimizer import OptimizerSettings, make_optimizer


def rates(steps, **settings):
  """Learning rate of every step: AdamW's first updates have its size, the sign of a constant gradient turned round."""
  optimizer = make_optimizer(OptimizerSettings(**{"learning_rate": 1.0, **settings}), steps, {})
  params = {"policy": jnp.zeros(())}
  state, sizes = optimizer.init(params), []
  with jax.numpy_dtype_promotion("standard"):
    for _ in range(steps):
      update, state = optimizer.update({"policy": jnp.float32(0.5)}, state, params)
      sizes.append(-float(update["policy"]))
  return sizes


@pytest.mark.parametrize(
  ("schedule", "warmup", "expected"),
  [
    ("constant", 0, [1, 1, 1, 1]),
    ("constant", 2, [0, 0.5, 1, 1]),
    ("linear", 0, [1, 0.75, 0.5, 0.25]),
    ("linear", 2, [0, 0.5, 1, 0.5]),
    ("cosine", 0, [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5]),  # (1 + cos(pi n / 4)) / 2
  ],
)
def test_schedules_by_hand(schedule, warmup, expected):
  np.testing.assert_allclose(rates(4, schedule=schedule, warmup_steps=warmup), expected, atol=1e-5)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_run_without_steps_of_the_optimizer_has_a_schedule(schedule):
  optimizer = make_optimizer(OptimizerSettings(schedule=schedule, warmup_steps=2), 0, {})
  params = {"policy": jnp.zeros(())}
  with jax.numpy_dtype_promotion("standard"):
    update, _ = optimizer.update({"policy": jnp.float32(0.5)}, optimizer.init(params), params)
  assert np.isfinite(update["policy"])


@pytest.mark.parametrize("section", ["optimizer", "cold_start"])
def test_an_unknown_schedule_names_its_section(section):
  with pytest.raises(ValueError, match=f"no {section}.schedule is called 'lineal': did you mean 'linear'"):
    make_optimizer(OptimizerSettings(schedule="lineal"), 4, {}, section=section)


def test_every_head_has_the_pace_of_its_rate_group():
  settings = OptimizerSettings(learning_rate=1.0, max_grad_norm=1e9, value_rate=5.0, value_warmup=2)
  head = HeadSpec(init=None, apply=None)
  optimizer = make_optimizer(settings, 4, {"mine": head, "slow": head._replace(rate_group="policy")})
  params = {"policy": {"w": jnp.zeros(())}, "mine": jnp.zeros(()), "slow": jnp.zeros(())}
  state, sizes = optimizer.init(params), []
  with jax.numpy_dtype_promotion("standard"):
    for _ in range(4):
      update, state = optimizer.update(jax.tree.map(lambda a: a + 0.5, params), state, params)
      sizes.append([-float(step) for step in (update["policy"]["w"], update["mine"], update["slow"])])
  np.testing.assert_allclose(sizes, [(0, 5, 0), (0, 5, 0), (1, 5, 1), (1, 5, 1)], atol=1e-5)


def test_what_is_trained_and_not_declared_is_named():
  optimizer = make_optimizer(OptimizerSettings(), 4, {})
  with pytest.raises(ValueError, match="'mine' is trained, and the algorithm's heads"):
    optimizer.init({"policy": jnp.zeros(()), "mine": jnp.zeros(())})


def test_the_gradient_is_clipped_by_its_global_norm():
  optimizer = make_optimizer(OptimizerSettings(max_grad_norm=1.0), 4, {})
  params = {"policy": {"a": jnp.zeros(()), "b": jnp.zeros(())}}
  gradient = {"policy": {"a": jnp.float32(30.0), "b": jnp.float32(40.0)}}
  with jax.numpy_dtype_promotion("standard"):
    _, state = optimizer.update(gradient, optimizer.init(params), params)
  first_moment = [float(leaf) for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.float32][:2]
  np.testing.assert_allclose(first_moment, [0.1 * 0.6, 0.1 * 0.8], rtol=1e-5)  # (1 - b1) of the clipped gradient
