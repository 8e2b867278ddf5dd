"""Compiles both kernels for an H100, without a GPU; `--real` with the launch that real models get, which takes longer.

What it asserts: tensor-core products of a warp group, asynchronous copies, and no more shared memory than there is.
"""

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from agentrl.ops.linear_logprob.differentiable import RowConstants
from agentrl.ops.linear_logprob.triton import (
  LAUNCH_16_BIT,
  LAUNCH_32_BIT,
  Launch,
  forward_parameters,
  logits_bar_parameters,
  splits_of,
)
from agentrl.ops.linear_logprob.triton_kernels import forward_kernel, logits_bar_kernel

SHARED_BYTES = 227 * 1024
SMALL = Launch(tokens=64, columns=32, channels=32, warps=4, stages=2)


def compiled(kernel, parameters, dtype, launch):
  """The kernel for compute capability 9.0; pointers are those that are no compile-time parameter."""
  special = {"hidden": dtype, "rows": dtype, "out": dtype, "tokens": "i32", "live": "i32", "skip": "i32"}
  names = kernel.arg_names
  signature = {n: "constexpr" if n in parameters else "*" + special.get(n, "fp32") for n in names}
  aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if n not in parameters}
  source = ASTSource(kernel, signature, {(names.index(k),): v for k, v in parameters.items()}, aligned)
  options = {"num_warps": launch.warps, "num_stages": launch.stages}
  return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def check(dtype, launch, tokens, vocabulary, width):
  _, part = splits_of(tokens, vocabulary, launch)
  shape = vocabulary, width
  every = RowConstants(1, 1, 1, 1, 1)
  for kernel, parameters in (
    (forward_kernel, forward_parameters(tokens, shape, part, launch)),
    (logits_bar_kernel, logits_bar_parameters(tokens, shape, every, launch)),
  ):
    out = compiled(kernel, parameters, dtype, launch)
    assert "wgmma.mma_async" in out.asm["ptx"] and "cp.async" in out.asm["ptx"]
    assert out.metadata.shared <= SHARED_BYTES and len(out.asm["cubin"]) > 0
    print(kernel.__name__, dtype, launch, "shared", out.metadata.shared)


if __name__ == "__main__":
  check("bf16", SMALL, 100, 1000, 64)
  if "--real" in sys.argv:
    for width in (576, 1024, 4096):
      check("bf16", LAUNCH_16_BIT, 8192, 151_936, width)
    check("fp32", LAUNCH_32_BIT, 4096, 49_152, 576)
