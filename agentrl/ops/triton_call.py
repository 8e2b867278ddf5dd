"""Launching a Triton kernel from JAX, with whichever jax-triton is installed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.interpreters.partial_eval import dce_rules


def launch(
  kernel: Callable,
  inputs: Sequence[jax.Array],
  outputs: Sequence[jax.ShapeDtypeStruct],
  *,
  grid: tuple[int, ...],
  warps: int,
  stages: int,
  **constants: Any,
) -> list[jax.Array]:
  """Runs `kernel` over `grid`.

  Args:
    kernel: decorated with `triton.jit`; takes pointers to the inputs, pointers to the outputs, and the constants.
    inputs: arrays.
    outputs: shapes and dtypes; the kernel must write every element.
    grid: programs along up to three axes.
    warps: warps of a program.
    stages: depth of software pipelining.
    constants: what the kernel declares `tl.constexpr`.

  Returns:
    The outputs.
  """
  import jax_triton

  _mend_dead_code_rule()
  # jax-triton 0.3 says out_shape, 0.4 says out_type.
  takes = inspect.signature(jax_triton.triton_call).parameters
  shapes = {"out_type" if "out_type" in takes else "out_shape": tuple(outputs)}
  return jax_triton.triton_call(
    *inputs, kernel=kernel, grid=grid, num_warps=warps, num_stages=stages, **shapes, **constants
  )


def _mend_dead_code_rule() -> None:
  """JAX 0.12 hands three arguments to rules for dead code; that of jax-triton 0.4.0 and 0.4.1 takes two."""
  from jax_triton import triton_lib

  rule = dce_rules.get(triton_lib.triton_kernel_call_p)
  if rule and jax.__version_info__ >= (0, 12) and len(inspect.signature(rule).parameters) == 2:
    dce_rules[triton_lib.triton_kernel_call_p] = lambda used, live, equation: rule(used, equation)


def require(argument: str) -> None:
  """Says at once whether Triton kernels can run here.

  Args:
    argument: the setting that asks for them, for the error: `implementation="triton"`.

  Raises:
    ValueError: no NVIDIA GPU, or jax-triton is not installed.
  """
  if jax.default_backend() != "gpu":
    raise ValueError(f"{argument} needs an NVIDIA GPU; JAX runs on {jax.default_backend()!r} here")
  try:
    import jax_triton  # noqa: F401
  except ImportError as error:
    raise ValueError(f"{argument} needs jax-triton: pip install 'agentrl[triton]' ({error})") from error
