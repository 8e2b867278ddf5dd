"""JAX in its strictest mode, on the CPU, for every test."""

import dataclasses
import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax
import jax.numpy as jnp
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)

# Examples share two cores with other tests, and may compile: time says nothing about them.
hypothesis.settings.register_profile(
  "agentrl", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], derandomize=True
)
hypothesis.settings.load_profile("agentrl")


def pytest_collection_modifyitems(items):
  """Tests of whole runs, which lie beside this file, take longest: first, so that all processes end together."""
  items.sort(key=lambda item: item.path.parent != pathlib.Path(__file__).parent)


@pytest.fixture(scope="session")
def tiny_config():
  """See `tests/training/tiny.py`, which is imported where it is asked for alone."""
  from tests.training import tiny

  return tiny.make_config()


@pytest.fixture(scope="session")
def tiny_experiment(tiny_config):
  """`tiny_experiment()` gives the parts, compiled once per session, with params that training may donate."""
  from agentrl.training.build.experiment import build_experiment

  parts = build_experiment(tiny_config)
  return lambda: dataclasses.replace(parts, params=jax.tree.map(jnp.copy, parts.params))
