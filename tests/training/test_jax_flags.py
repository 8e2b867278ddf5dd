import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.training import jax_flags
from agentrl.training.build.experiment import build_experiment


@pytest.fixture
def flag():
  """`flag(name, value)` changes a setting of JAX until the test ends."""
  before = {}

  def change(name, value):
    before.setdefault(name, jax.config.values[name])
    jax.config.update(name, value)

  yield change
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.mark.parametrize(
  ("name", "value", "problem"),
  [
    ("jax_enable_x64", True, "JAX_ENABLE_X64=True does not work here: .*32 bits"),
    ("jax_default_prng_impl", "rbg", "JAX_DEFAULT_PRNG_IMPL=rbg .* depend on the slot"),
    ("jax_debug_infs", True, "JAX_DEBUG_INFS=True .*minus infinity"),
    ("jax_transfer_guard", "disallow", "JAX_TRANSFER_GUARD=disallow .*live on the host"),
  ],
)
def test_settings_that_break_a_run_are_refused_where_it_begins(flag, tiny_config, name, value, problem):
  jax_flags.check_flags()
  flag(name, value)
  with pytest.raises(ValueError, match=problem):
    build_experiment(tiny_config)


def test_a_jax_without_one_of_the_settings_is_checked_for_the_others(flag, monkeypatch):
  monkeypatch.setitem(jax_flags._NEEDED, "jax_setting_of_another_version", ((False,), "it is not there"))
  monkeypatch.setitem(jax_flags.MOVING, "jax_setting_of_another_version", False)
  jax_flags.check_flags()
  assert "JAX_SETTING_OF_ANOTHER_VERSION" not in jax_flags.flags_that_move_numbers()
  flag("jax_debug_infs", True)
  with pytest.raises(ValueError, match="JAX_DEBUG_INFS"):
    jax_flags.check_flags()


def test_why_other_generators_are_refused():
  """A slot's number is the same alone and among others; not so with a generator whose batches are one stream."""
  draw = jax.vmap(lambda key: jax.random.uniform(key, (4,)))
  for kind, same in (("threefry2x32", True), ("rbg", False)):
    with jax.debug_key_reuse(False), jax.numpy_dtype_promotion("standard"):
      keys = jax.random.split(jax.random.key(0, impl=kind), 3)
      assert np.array_equal(draw(keys[1:2])[0], draw(keys)[1]) is same


def test_settings_that_move_numbers_are_listed(flag, monkeypatch):
  for name in jax_flags.ENVIRONMENT:
    monkeypatch.delenv(name, raising=False)
  assert jax_flags.flags_that_move_numbers() == {}
  flag("jax_random_seed_offset", 7)
  flag("jax_default_matmul_precision", "bfloat16")
  monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true --xla_dump_to=/home/me/dump")
  listed = jax_flags.flags_that_move_numbers()
  assert listed == {
    "JAX_RANDOM_SEED_OFFSET": 7,
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
  }
  assert json.loads(json.dumps(listed)) == listed


def test_the_defaults_are_those_of_this_jax():
  names = [*jax_flags.MOVING, *jax_flags._NEEDED]
  code = f"import jax, json; print(json.dumps({{n: jax.config.values[n] for n in {names}}}))"
  clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
  found = json.loads(subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, check=True).stdout)
  assert {name: found[name] for name in jax_flags.MOVING} == jax_flags.MOVING
  assert all(found[name] in allowed for name, (allowed, _) in jax_flags._NEEDED.items())


@pytest.mark.parametrize(("name", "value"), [("jax_debug_nans", True), ("jax_enable_checks", True)])
def test_settings_that_only_check_are_let_through(flag, name, value):
  flag(name, value)
  jax_flags.check_flags()
  assert jnp.exp(jnp.zeros(2)).sum() == 2
