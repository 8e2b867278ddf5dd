"""Timing for the benches beside it."""

import time

import jax
import numpy as np


def interleaved(calls, repeats):
  """Median wall seconds of each call; they take turns, so that what else the machine does hits all of them."""
  times = np.zeros((repeats, len(calls)))
  for repeat in times:
    for i, call in enumerate(calls):
      started = time.perf_counter()
      jax.block_until_ready(call())
      repeat[i] = time.perf_counter() - started
  return np.median(times, axis=0)
