"""GAE by `lax.scan` against `lax.associative_scan`, on whatever device JAX runs on.

  python scripts/bench/returns.py [--lengths 256 4096 65536] [--rows 1 8 64] [--masked]

Times are medians of interleaved calls; the results are compared first. Half of the elements are masked with `--masked`.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from timing import interleaved

from agentrl.ops import returns


def compiled(implementation, masked, arguments):
  """A compiled `gae` and the seconds that compiling took."""

  def gae(rewards, values, discounts, bootstrap, mask):
    mask = mask if masked else None
    return returns.gae(rewards, values, discounts, bootstrap, gae_lambda=0.95, mask=mask, implementation=implementation)

  started = time.perf_counter()
  return jax.jit(gae).lower(*arguments).compile(), time.perf_counter() - started


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--lengths", type=int, nargs="+", default=[256, 4096, 65536])
  parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 64])
  parser.add_argument("--masked", action="store_true")
  parser.add_argument("--repeats", type=int, default=9)
  options = parser.parse_args()
  table = Table(
    "T", "B", "scan ms", "associative ms", "associative / scan", "compile s, scan", "compile s, associative"
  )
  for length in options.lengths:
    for rows in options.rows:
      rng = np.random.default_rng(0)
      rewards, values = jnp.asarray(rng.normal(size=(2, rows, length)), jnp.float32)
      mask = jnp.asarray(rng.random((rows, length)) < 0.5)
      arguments = rewards, values, jnp.full((rows, length), 0.99), jnp.zeros(rows), mask
      (scan, scan_compile), (associative, associative_compile) = (
        compiled(name, options.masked, arguments) for name in ("scan", "associative")
      )
      wanted = np.asarray(scan(*arguments))
      np.testing.assert_allclose(associative(*arguments), wanted, atol=1e-4 * np.max(np.abs(wanted)))
      calls = [functools.partial(function, *arguments) for function in (scan, associative)]
      ours, other = interleaved(calls, options.repeats) * 1e3
      table.add_row(
        str(length), str(rows), f"{ours:.3f}", f"{other:.3f}", f"{other / ours:.2f}", f"{scan_compile:.2f}",
        f"{associative_compile:.2f}",
      )  # fmt: skip
  device = jax.devices()[0]
  Console().print(f"GAE, fp32, masked: {options.masked}; JAX {jax.__version__}, {device.platform} {device.device_kind}")
  Console().print(table)


if __name__ == "__main__":
  main()
