"""JAX in its strictest mode, on the CPU, for every test."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax

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
