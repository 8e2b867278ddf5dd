"""Runs both kernels in Triton's interpreter, on NumPy arrays, and compares with float64."""

import numpy as np

from agentrl.ops.linear_logprob.differentiable import RowConstants
from agentrl.ops.linear_logprob.triton_kernels import forward_kernel, logits_bar_kernel
from agentrl.ops.linear_logprob.triton_launch import Launch, combine, forward_parameters, logits_bar_parameters

LAUNCH = Launch(tokens=16, columns=16, channels=16, warps=4, stages=1)


class Tensor:
  """As much of a tensor of PyTorch as the interpreter asks for, over an array of NumPy."""

  def __init__(self, array):
    self.array, self.dtype = np.ascontiguousarray(array), str(array.dtype)

  def data_ptr(self):
    return self.array.ctypes.data

  def untyped_storage(self):
    return self

  def cpu(self):
    return self

  def copy_(self, other):
    assert other is self

  def new_empty(self, *_, **__):
    return self

  def set_(self, *_):
    return self

  def storage_offset(self):
    return 0

  def size(self):
    return self.array.shape

  def stride(self):
    return tuple(s // self.array.itemsize for s in self.array.strides)


def run(kernel, grid, inputs, outputs, parameters):
  outputs = [Tensor(x) for x in outputs]
  kernel[grid](*(Tensor(x) for x in inputs), *outputs, **parameters)
  return [x.array for x in outputs]


def problem(tokens, width, vocabulary, std):
  rng = np.random.default_rng(0)
  hidden = rng.normal(size=(tokens, width)).astype(np.float32)
  rows = (rng.normal(size=(vocabulary, width)) * std / np.sqrt(width)).astype(np.float32)
  taken = rng.integers(0, vocabulary, tokens).astype(np.int32)
  taken[0], taken[1] = vocabulary - 1, vocabulary + 3  # the last column, and one of another shard
  scale = (1 / rng.uniform(0.5, 1.5, tokens)).astype(np.float32)
  return hidden, rows, taken, scale


def exact(hidden, rows, taken, scale):
  z = hidden.astype(np.float64) @ rows.T.astype(np.float64) * scale[:, None]
  peak = z.max(axis=1, keepdims=True)
  logsumexp = peak[:, 0] + np.log(np.exp(z - peak).sum(axis=1))
  log_p = z - logsumexp[:, None]
  one_hot = taken[:, None] == np.arange(len(rows))
  return (z * one_hot).sum(axis=1), logsumexp, -(np.exp(log_p) * log_p).sum(axis=1), log_p, one_hot


def check(tokens, width, vocabulary, std, live):
  inputs = problem(tokens, width, vocabulary, std)
  *expected, log_p, one_hot = exact(*inputs)
  part = 2 * LAUNCH.columns
  splits = -(-vocabulary // part)
  out = run(
    forward_kernel,
    (-(-tokens // LAUNCH.tokens), splits),
    [*inputs, np.asarray([live], np.int32)],
    [np.zeros((splits, tokens), np.float32) for _ in range(4)],
    forward_parameters(tokens, (vocabulary, width), part, LAUNCH),
  )
  written = min(-(-live // LAUNCH.tokens) * LAUNCH.tokens, tokens)
  assert not any(np.any(x[:, written:]) for x in out)
  for ours, theirs in zip(combine(*(x[:, :written] for x in out)), expected, strict=True):
    np.testing.assert_allclose(ours, theirs[:written], atol=1e-5 * max(1, std))
  check_bar(inputs, expected, log_p, one_hot)


def check_bar(inputs, expected, log_p, one_hot):
  hidden, rows, taken, scale = inputs
  n = np.arange(len(hidden))
  vectors = [scale, expected[1], np.cos(n), np.sin(n), np.cos(2 * n)]
  arrays = RowConstants(*(x.astype(np.float32) for x in vectors))
  skip = 3
  for some in (
    arrays,
    arrays._replace(slope=None),
    arrays._replace(taken=None),
    arrays._replace(offset=None, slope=None),
  ):
    (bar,) = run(
      logits_bar_kernel,
      (-(-len(hidden) // LAUNCH.tokens) * -(-len(rows) // LAUNCH.columns),),
      [hidden, rows, taken, *(scale if x is None else x for x in some), np.asarray([skip], np.int32)],
      [np.full((len(hidden), len(rows)), np.nan, np.float32)],
      logits_bar_parameters(len(hidden), rows.shape, some, LAUNCH),
    )
    t, offset, slope = (0.0 if x is None else x[:, None] for x in some[2:])
    theirs = (t * one_hot + np.exp(log_p) * (offset - slope * log_p)) * (np.arange(len(rows)) >= skip)
    np.testing.assert_allclose(bar, theirs, atol=1e-4)


if __name__ == "__main__":
  check(tokens=17, width=24, vocabulary=49, std=3.0, live=17)
  check(tokens=33, width=16, vocabulary=64, std=0.3, live=16)
  check(tokens=15, width=16, vocabulary=47, std=30.0, live=15)
