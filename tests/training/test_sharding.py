"""Where weights, optimiser state and rows lie, and that it changes nothing but the place."""

import dataclasses
import functools
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from agentrl import algorithms
from agentrl.algorithms import forward
from agentrl.algorithms.contract import Policy
from agentrl.batching.pack import PackConfig, pack
from agentrl.models import transformer
from agentrl.ops.linear_logprob import linear_logprob
from agentrl.ops.precision import with_float32_masters
from agentrl.training import sharding
from agentrl.types import StopReason, Trajectory

eight = pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 devices: see test_on_eight_virtual_devices")
MODEL = transformer.ModelConfig(vocab_size=16, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, ffn=24)
PACK = PackConfig(row_tokens=32, row_actions=16, rows=8, sequences=16)


@pytest.mark.skipif(len(jax.devices()) >= 8, reason="the tests below have their devices")
def test_on_eight_virtual_devices():
  """The number of devices is fixed when JAX starts, so the tests below run in a process of their own."""
  flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
  # Compiled without most of LLVM's optimisations: what devices hold and exchange is decided before these.
  quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
  environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | quick
  command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", __file__]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
  assert done.returncode == 0 and "passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]


def trajectories(count=16):
  rng = np.random.default_rng(0)
  turn = np.asarray([-1, -1, 0, 0, 0, 1], np.int32)
  mask = np.asarray([False, False, True, True, False, True])
  rewards = rng.random(count)
  return [
    Trajectory(
      tokens=rng.integers(0, 16, 6).astype(np.int32), action_mask=mask, sampler_logp=-mask.astype(np.float32),
      entropy=np.zeros(6, np.float32), turn=turn, policy_version=np.where(mask, 0, -1).astype(np.int32), turns=(),
      task_id="t", group_id=n // 4, uid=n, stop=StopReason.ANSWERED, reward_parts={}, reward=float(rewards[n]),
    )
    for n in range(count)
  ]  # fmt: skip


def policy_on(mesh, model):
  place, logprob = sharding.place_hidden_on(mesh), sharding.linear_logprob_on(mesh, model)
  return Policy(model, PACK, place_hidden=place, linear_logprob=logprob)


def update(mesh, name, model=MODEL):
  """One update of a whole learner state on a mesh; returns the state and its metrics."""
  module = algorithms.load(name)
  policy = policy_on(mesh, model)
  algorithm = module.make(policy, optax.sgd(0.1, momentum=0.9), module.default_config())
  state = algorithm.init(jax.random.key(1), transformer.init_params(jax.random.key(0), model))
  shardings = sharding.state_shardings(state, transformer.weight_specs(model), mesh)
  state = jax.tree.map(jax.device_put, state, shardings)
  batch, _ = algorithm.prepare(state, trajectories())
  return algorithm.update(state, jax.random.key(2), sharding.place_batch(batch, mesh))


@functools.cache
def update_on_one_device(name, model):
  return update(sharding.make_mesh(data=1), name, model)


UNEVEN = dataclasses.replace(MODEL, vocab_size=17)  # tensor=2 does not divide it


@eight
@pytest.mark.parametrize(
  ("name", "mesh", "model"),
  [
    ("grpo", (4, 2, 1), MODEL),
    ("grpo", (2, 2, 2), MODEL),
    ("grpo", (2, 2, 2), UNEVEN),
    ("ppo", (4, 2, 1), MODEL),
    ("ppo", (2, 2, 2), MODEL),
  ],
)
def test_an_update_on_eight_devices_equals_one_device(name, mesh, model):
  got, got_metrics = update(sharding.make_mesh(*mesh), name, model)
  wanted, wanted_metrics = update_on_one_device(name, model)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
  for key, value in wanted_metrics.items():
    np.testing.assert_allclose(got_metrics[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
  assert not all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(got.params["policy"]))


def test_log_probs_are_computed_where_weights_and_rows_lie():
  assert sharding.linear_logprob_on(sharding.make_mesh(data=1), MODEL) is linear_logprob


@eight
@pytest.mark.parametrize(
  ("mesh", "model", "axis"), [((2, 2, 2), MODEL, "tensor"), ((2, 2, 2), UNEVEN, None), ((4, 2, 1), MODEL, None)]
)
def test_log_probs_over_the_vocabulary_where_it_is_divided(mesh, model, axis):
  chosen = sharding.linear_logprob_on(sharding.make_mesh(*mesh), model)
  assert chosen.keywords["token_axes"] == ("data", "fsdp") and chosen.keywords["vocabulary_axis"] == axis


def collectives(mesh, model):
  """(shapes, name) of what the devices exchange in a gradient of log-probs and entropies."""
  policy = policy_on(mesh, model)
  batch = sharding.place_batch(pack(trajectories(), {}, PACK), mesh)
  params = transformer.init_params(jax.random.key(0), model)
  where = sharding.state_shardings(params, transformer.weight_specs(model), mesh)
  params = jax.tree.map(jax.device_put, params, where)

  def loss(params, batch):
    _, logp, entropy = forward.action_outputs(params, forward.micro_batch(batch, jnp.int32(0)), policy)
    return jnp.sum(logp) + jnp.sum(entropy)

  compiled = jax.jit(jax.grad(loss), out_shardings=where).lower(params, batch).compile().as_text()
  return re.findall(
    r"= (.*?) (all-gather|all-to-all|collective-permute|reduce-scatter|all-reduce)(?:-start)?\(", compiled
  )


@eight
def test_no_hidden_state_and_no_weight_goes_to_another_device():
  """Without fsdp the only collectives are sums over devices, of nothing as wide as the vocabulary."""
  found = collectives(sharding.make_mesh(2, 1, 2), dataclasses.replace(MODEL, vocab_size=1000, kv_heads=2))
  assert found and {name for _, name in found} == {"all-reduce"}
  assert not [shape for shape, _ in found if re.search(r"\[(\d+,)*(500|1000)\]", shape)]


@eight
def test_fsdp_gathers_weights_and_leaves_rows_where_they_are():
  """No size of the model is that of a row, so that a shape `[B, T, ...]` is one of activations."""
  found = collectives(sharding.make_mesh(2, 2, 1), MODEL)
  assert "all-gather" in {name for _, name in found}
  assert not [shape for shape, _ in found if re.search(rf"\[(\d+,)+{PACK.row_tokens}(,\d+)*\]", shape)]


@eight
def test_weights_lie_by_their_logical_axes():
  mesh = sharding.make_mesh(2, 2, 2)

  def spec(shape, *axes):
    return sharding.weight_sharding(transformer.Weight(shape, axes, transformer.zeros), mesh).spec

  assert spec((4, 16, 24), "layer", "width", "ffn") == P(None, "fsdp", "tensor")
  assert spec((16, 8), "vocab", "width") == P("tensor", "fsdp")
  assert spec((4, 16), "layer", "norm") == P(None, None)
  assert spec((15, 8), "vocab", "width") == P(None, "fsdp")  # 2 does not divide 15
  assert spec((8, 8), "width", "width") == P("fsdp", None)  # a mesh axis serves one dimension


@eight
def test_optimiser_state_and_critic_lie_like_the_weights():
  mesh = sharding.make_mesh(4, 2)
  params = {"policy": transformer.init_params(jax.random.key(0), MODEL), "value": jnp.zeros(16)}
  specs = transformer.weight_specs(MODEL)
  got = sharding.state_shardings((params, optax.adam(0.1).init(params)), specs, mesh)
  weights = jax.tree.map(lambda w: sharding.weight_sharding(w, mesh), specs, is_leaf=transformer.is_weight)
  assert got[0]["policy"] == weights and got[1][0].mu["policy"] == weights and got[1][0].nu["policy"] == weights
  assert got[0]["value"].spec == got[1][0].count.spec == P()
  assert any("fsdp" in s.spec for s in jax.tree.leaves(weights))


@eight
def test_masters_lie_like_the_weights_and_are_rounded_alike_wherever_they_lie():
  """Three steps of bfloat16 weights on eight devices and on one: thresholds belong to places in the tree."""
  specs = transformer.weight_specs(MODEL)
  params = {"policy": transformer.init_params(jax.random.key(0), dataclasses.replace(MODEL, param_dtype="bfloat16"))}
  optimizer = with_float32_masters(optax.adam(1e-4))

  @jax.jit
  def step(params, state):
    with jax.numpy_dtype_promotion("standard"):
      updates, state = optimizer.update(jax.tree.map(jnp.sin, params), state, params)
      return optax.apply_updates(params, updates), state

  def three_steps(mesh):
    carry = params, optimizer.init(params)
    where = sharding.state_shardings(carry, specs, mesh)
    assert where[1].params["policy"] == where[0]["policy"]
    carry = jax.tree.map(jax.device_put, carry, where)
    for _ in range(3):
      carry = step(*carry)
    return carry

  divided, alone = three_steps(sharding.make_mesh(2, 2, 2)), three_steps(sharding.make_mesh(data=1))
  assert not divided[1].params["policy"]["layers"]["gate"].sharding.is_fully_replicated
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(divided[0]), jax.device_get(alone[0]))
  gate, start = (np.float32(tree["policy"]["layers"]["gate"]) for tree in (divided[0], params))
  assert np.mean(gate != start) > 0.1  # there was something to round


@eight
def test_rows_must_divide():
  with pytest.raises(ValueError, match=r"pack.rows=3 must be a multiple of the 8 devices"):
    batch = sharding.Batch(*[np.zeros((1, 3, 4))] * 13)
    sharding.place_batch(batch, sharding.make_mesh(4, 2))


def test_one_device_takes_everything():
  state, metrics = update_on_one_device("grpo", MODEL)
  assert dict(sharding.make_mesh(data=1).shape) == {"data": 1, "fsdp": 1, "tensor": 1}
  assert int(state.updates) == 1 and np.isfinite(metrics["policy/loss"])


def test_zero_takes_what_is_left():
  assert sharding.make_mesh().shape["data"] == len(jax.devices())


@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ({"data": 64}, "mesh.data=64 x mesh.fsdp=1 x mesh.tensor=1 needs 64 devices; there are"),
    ({"fsdp": 64}, "needs 64 devices"),
    ({"fsdp": 0}, "mesh.fsdp=0"),
    ({"data": -1}, "mesh.data=-1"),
  ],
)
def test_impossible_meshes_are_told(shape, message):
  with pytest.raises(ValueError, match=message):
    sharding.make_mesh(**shape)


@eight
def test_a_mesh_leaves_no_device_idle_unasked():
  with pytest.raises(ValueError, match=r"mesh.fsdp=3 x mesh.tensor=1 does not divide the 8 devices"):
    sharding.make_mesh(fsdp=3)
  assert dict(sharding.make_mesh(data=2, fsdp=3).shape) == {"data": 2, "fsdp": 3, "tensor": 1}
