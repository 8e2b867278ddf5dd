"""JAX's own settings, which the environment can change before a run begins.

Some of them move the numbers of a run, and are recorded at its start. Some break it or one of its promises, and are
refused. Whatever else JAX can be told, such as where compiled functions are cached or how tracebacks look, moves none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import jax

# What each setting is in a JAX that nobody configured.
MOVING = {
  "jax_default_matmul_precision": None,
  "jax_disable_jit": False,
  "jax_disable_most_optimizations": False,
  "jax_allow_f16_reductions": True,
  "jax_exec_time_optimization_effort": 0.0,
  "jax_high_dynamic_range_gumbel": False,
  "jax_memory_fitting_effort": 0.0,
  "jax_memory_fitting_level": "O2",
  "jax_optimization_level": "UNKNOWN",
  "jax_random_seed_offset": 0,
  "jax_softmax_custom_jvp": False,
  "jax_threefry_partitionable": True,
  "jax_use_shardy_partitioner": True,
}
# Settings of the compiler and the libraries below it, whose own defaults are not known here.
ENVIRONMENT = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")

# The values that a run can have, and what goes wrong with others.
_NEEDED = {
  "jax_enable_x64": ((False,), "the rollout's state is 32 bits wide, and no loop over it would keep its types"),
  "jax_default_prng_impl": (
    ("threefry2x32",),
    "with other generators the tokens of a trajectory depend on the slot that it lies in",
  ),
  "jax_debug_infs": ((False,), "masked logits are minus infinity on purpose; use JAX_DEBUG_NANS, which works"),
  **dict.fromkeys(
    ("jax_transfer_guard", "jax_transfer_guard_host_to_device", "jax_transfer_guard_device_to_host"),
    (
      (None, "allow", "log", "log_explicit"),
      "prompts, tools and rewards live on the host, so that arrays go to and fro",
    ),
  ),
}


def check_flags() -> None:
  """Raises ValueError where JAX is set up so that a run breaks, or breaks a promise; says how to undo it."""
  for name, value in _set(_NEEDED).items():
    allowed, why = _NEEDED[name]
    if value not in allowed:
      raise ValueError(
        f"{name.upper()}={value} does not work here: {why}. Unset it, in the environment or in your code"
      )


def flags_that_move_numbers() -> dict[str, Any]:
  """What differs from an unconfigured JAX and may change a run's numbers: name -> value, as JSON values.

  Words with a path in them are left out of the environment's variables: they say where something is written.
  """
  flags = {name.upper(): value for name, value in _set(MOVING).items() if value != MOVING[name]}
  for name in ENVIRONMENT:
    words = [word for word in os.environ.get(name, "").split() if os.sep not in word]
    flags |= {name: " ".join(words)} if words else {}
  return flags


def _set(names: Iterable[str]) -> dict[str, Any]:
  """What the settings are, of those that this version of JAX has."""
  return {name: jax.config.values[name] for name in names if name in jax.config.values}
