"""Launching a Triton kernel from JAX, with whichever jax-triton is installed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax


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
    warps: warps of a program. stages: depth of software pipelining.
    constants: what the kernel declares `tl.constexpr`.

  Returns:
    The outputs.
  """
  import jax_triton

  # jax-triton 0.3 goes with JAX 0.10 and says out_shape; 0.4 with JAX >= 0.11 says out_type.
  takes = inspect.signature(jax_triton.triton_call).parameters
  shapes = {"out_type" if "out_type" in takes else "out_shape": tuple(outputs)}
  return jax_triton.triton_call(
    *inputs, kernel=kernel, grid=grid, num_warps=warps, num_stages=stages, **shapes, **constants
  )


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
