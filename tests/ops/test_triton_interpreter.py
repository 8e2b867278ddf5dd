"""Triton's interpreter without torch: kernels on arrays of the host, in a process of its own."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import triton_interpreter

triton = pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
tl = pytest.importorskip("triton.language")

interpreted = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="runs in a process of its own")


def test_in_a_process_of_its_own(run_interpreted):
  run_interpreted(__file__, "of_the_interpreter")


@triton.jit
def product_kernel(x, y, out, SIZE: tl.constexpr):
  """`out[:SIZE, :SIZE / 2] = x @ y` of `[SIZE, SIZE]`, and leaves the other half of `out` alone."""
  row, column = tl.arange(0, SIZE), tl.arange(0, SIZE)
  at = row[:, None] * SIZE + column[None, :]
  product = tl.dot(tl.load(x + at), tl.load(y + at), tl.zeros((SIZE, SIZE), tl.float32))
  tl.store(out + at, product, mask=(column < SIZE // 2)[None, :] & (row >= 0)[:, None])


@interpreted
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_products_of_the_interpreter_are_exact_and_what_is_not_written_shows(dtype):
  size = 16
  x = jnp.asarray(np.random.default_rng(0).integers(-8, 8, (size, size)), dtype)  # exact in bf16
  shape = jax.ShapeDtypeStruct((size, size), jnp.float32)
  (out,) = triton_interpreter.launch(product_kernel, [x, x.T], [shape], grid=(1,), warps=4, stages=1, SIZE=size)
  wanted = np.asarray(x, np.float32) @ np.asarray(x.T, np.float32)
  np.testing.assert_array_equal(out[:, : size // 2], wanted[:, : size // 2])
  assert np.isnan(out[:, size // 2 :]).all()


@triton.jit
def count_kernel(out, SIZE: tl.constexpr):
  """The program's number into its own place, but for the last program."""
  program = tl.program_id(0)
  if program < SIZE - 1:
    tl.store(out + program, program)


@interpreted
def test_integers_of_the_interpreter_start_as_minus_one():
  (out,) = triton_interpreter.launch(
    count_kernel, [], [jax.ShapeDtypeStruct((4,), jnp.int32)], grid=(4,), warps=4, stages=1, SIZE=4
  )
  assert out.tolist() == [0, 1, 2, -1]
