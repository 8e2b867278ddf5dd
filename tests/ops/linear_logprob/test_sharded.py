"""Tokens and vocabulary over 8 virtual devices give what one device gives, gradients included."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from agentrl.ops.linear_logprob import linear_logprob, sharded_linear_logprob

T, D, V = 22, 4, 24
AXES = {"token_axes": ("data",), "vocabulary_axis": "tensor"}
PLAIN = functools.partial(linear_logprob, implementation="reference")


def _inputs():
  rng = np.random.default_rng(0)
  hidden, unembed = rng.normal(size=(T, D)), 2 * rng.normal(size=(D, V))
  mask = rng.random(T) < 0.6
  tokens = rng.integers(0, V, T)
  tokens[~mask] = -7  # padding may hold anything
  arrays = (jnp.asarray(x, jnp.float32) for x in (hidden, unembed))
  return (*arrays, jnp.asarray(tokens, jnp.int32), jnp.asarray(rng.uniform(0.5, 2, T), jnp.float32), jnp.asarray(mask))


def _run(function, masked):
  """Results and gradients of a loss over all three, compiled."""

  def loss(hidden, unembed, tokens, temperature, mask):
    out = function(
      hidden, unembed, jnp.maximum(tokens, 0) if not masked else tokens, temperature=temperature,
      mask=mask if masked else None, with_logsumexp=True,
    )  # fmt: skip
    weight = jnp.cos(jnp.arange(tokens.shape[0]))
    return jnp.sum(weight * out.logp) + jnp.sum(jnp.sin(out.entropy)) + jnp.sum(weight * out.logsumexp), out

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


def _mesh(data, tensor, axis_type=AxisType.Auto):
  devices = np.asarray(jax.devices()[: data * tensor]).reshape(data, tensor)
  return Mesh(devices, ("data", "tensor"), axis_types=(axis_type,) * 2)


def _same(ours, theirs):
  for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(x, y, atol=2e-5)


def check_every_layout():
  assert len(jax.devices()) == 8
  inputs = _inputs()
  for masked in (False, True):
    expected = _run(PLAIN, masked)(*inputs)
    for data, tensor in ((4, 2), (1, 8), (8, 1)) if masked else ((4, 2),):
      mesh = _mesh(data, tensor)
      shard = lambda *x, mesh=mesh, **kw: sharded_linear_logprob(*x, mesh=mesh, **AXES, **kw)
      _same(_run(shard, masked)(*inputs), expected)


def check_explicit_axes():
  """As `jax.make_mesh` makes them: with arrays of one device, and with divided ones; results divided, and whole."""
  mesh = _mesh(4, 2, AxisType.Explicit)
  shard = functools.partial(sharded_linear_logprob, mesh=mesh, **AXES)
  even, uneven = (20, PartitionSpec("data")), (T, PartitionSpec(None))
  for (count, spec), masked in ((even, True), (uneven, True), (even, False)):
    hidden, unembed, *rest = _inputs()
    hidden, *rest = (x[:count] for x in (hidden, *rest))
    expected = _run(PLAIN, masked)(hidden, unembed, *rest)
    with jax.set_mesh(mesh):
      got = _run(shard, masked)(hidden, unembed, *rest)
      _same(got, expected)
      assert jax.typeof(got[0][1].logp).sharding.spec == spec
      placed = jax.device_put(hidden, spec), jax.device_put(unembed, PartitionSpec(None, "tensor"))
      _same(_run(shard, masked)(*placed, *rest), expected)
      if masked:
        _same(shard(*placed, rest[0], mask=rest[2]), shard(hidden, unembed, rest[0], mask=rest[2]))


def check_rows_stay_where_they_are():
  """No hidden state and no part of the vocabulary moves; by the plain function they do, and it is right too."""
  mesh = _mesh(4, 2)
  hidden, unembed, tokens, _, mask = _inputs()
  rows, columns = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["data"], [None, "tensor"]))
  hidden, tokens, mask = (jax.device_put(jnp.concatenate([x, x[:10]]), rows) for x in (hidden, tokens, mask))
  arrays = hidden, jax.device_put(unembed, columns), tokens, mask

  def step(function):
    def loss(hidden, unembed, tokens, mask):
      out = function(hidden, unembed, tokens, mask=mask)
      return jnp.sum(out.logp) + jnp.sum(out.entropy)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

  sharded, plain = step(functools.partial(sharded_linear_logprob, mesh=mesh, **AXES)), step(linear_logprob)
  text = sharded.lower(*arrays).compile().as_text()
  moved = [line for line in text.splitlines() if "all-gather" in line or "all-to-all" in line or "permute" in line]
  assert not moved, moved
  on_one_device = plain(*(np.asarray(x) for x in arrays))
  _same(sharded(*arrays), on_one_device)
  _same(plain(*arrays), on_one_device)


@pytest.mark.parametrize("check", ["check_every_layout", "check_explicit_axes", "check_rows_stay_where_they_are"])
def test_on_eight_virtual_devices(check):
  environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
  script = f"import runpy; runpy.run_path({__file__!r})[{check!r}]()"
  done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"token_axes": ("rows",)}, "name 'rows'; the mesh has data, tensor"),
    ({"vocabulary_axis": "data", "token_axes": ("data",)}, "an axis twice"),
    ({"unembed": jnp.ones((D + 1, V))}, r"hidden \[T, D\]"),
    ({"token_axes": "data"}, r"must be a sequence of names: \('data',\)"),
    ({"token_axes": ("data",), "mesh": jax.make_mesh((1, 1), ("data", "tensor"))}, "under jax.set_mesh"),
    ({"mesh": jax.make_mesh((1, 1), ("data", "tensor"), (AxisType.Manual,) * 2)}, "type Manual.*outside"),
  ],
)
def test_bad_input_is_named(change, message):
  hidden, unembed, tokens, _, _ = _inputs()
  arguments = {"hidden": hidden, "unembed": unembed, "tokens": tokens, "mesh": _mesh(1, 1)} | change
  with pytest.raises(ValueError, match=message):
    sharded_linear_logprob(**arguments)


@pytest.mark.parametrize("axes", [(), ("data",)])
def test_it_needs_no_jit_around(axes):
  *arrays, _, mask = _inputs()
  got = sharded_linear_logprob(*arrays, mask=mask, mesh=_mesh(1, 1), token_axes=axes, vocabulary_axis="tensor")
  wanted = linear_logprob(*arrays, mask=mask)
  np.testing.assert_allclose(got.logp, wanted.logp, atol=1e-5)
  np.testing.assert_allclose(got.entropy, wanted.entropy, atol=1e-5)
