"""Triton kernels on the host, by Triton's own interpreter: for tests and for debugging, at a thousandth of the speed.

The interpreter is chosen by TRITON_INTERPRET=1 in the environment before Triton is imported. It asks its arguments for
what a torch tensor would answer; `_Host` answers for a NumPy array, so that torch is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

_TRITON_NAMES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int32": "i32", "int8": "i8", "bool": "i1"}


class _Host:
  """A NumPy array with those methods of a torch tensor that the interpreter calls; it is its own storage."""

  def __init__(self, array: np.ndarray | None = None):
    self._array = array

  dtype = property(lambda self: _TRITON_NAMES[self._array.dtype.name])

  def data_ptr(self):
    return self._array.ctypes.data

  def untyped_storage(self):
    return self

  def cpu(self):
    return self

  def new_empty(self, size, device):
    del size, device
    return _Host()

  def set_(self, storage, *_):
    self._array = storage._array

  def storage_offset(self):
    return 0

  def size(self):
    return self._array.shape

  def stride(self):
    return self._array.strides

  def copy_(self, other):
    del other  # the kernel wrote into this very array


def _exact_dot(a, b, d, input_precision, max_num_imprecise_acc):
  """Triton 3.9's interpreter multiplies the bits of bf16 operands as integers; this widens them to fp32 first."""
  del input_precision, max_num_imprecise_acc
  from triton.runtime.interpreter import TensorHandle

  a, b = ((x.data.astype(np.uint32) << 16).view(np.float32) if x.dtype.is_bf16() else x.data for x in (a, b))
  return TensorHandle(np.matmul(a, b, dtype=d.data.dtype) + d.data, d.dtype.scalar)


def _exact_int_to_float(src, dst_type):
  """Triton 3.9's interpreter takes integers for the bits of bf16; this goes through fp32."""
  import triton.language as tl
  from triton.runtime.interpreter import interpreter_builder

  through = interpreter_builder.cast_impl(src, tl.float32) if dst_type.scalar.is_bf16() else src
  return interpreter_builder.cast_impl(through, dst_type)


def launch(
  kernel: Callable, inputs: Sequence[jax.Array], outputs: Sequence[jax.ShapeDtypeStruct], *, grid: tuple[int, ...],
  warps: int, stages: int, **constants: Any,
) -> list[jax.Array]:  # fmt: skip
  """`triton_call.launch` on the host; outputs start as NaN, or as -1, so that an element not written shows."""
  del warps, stages
  from triton.runtime.interpreter import interpreter_builder

  def run(*arrays):
    interpreter_builder.create_dot = _exact_dot
    interpreter_builder.create_si_to_fp = _exact_int_to_float
    arrays = [_Host(np.ascontiguousarray(a)) for a in arrays]
    results = [np.full(o.shape, np.nan if o.dtype.kind in "fV" else -1, o.dtype) for o in outputs]
    kernel[grid](*arrays, *(_Host(r) for r in results), **constants)
    return results

  return jax.pure_callback(run, list(outputs), *inputs)
