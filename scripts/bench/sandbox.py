"""What a call of the Python tool costs, under each way of isolation that this machine has.

  python scripts/bench/sandbox.py [--calls 60] [--pause 0.3]

A call prints a sum in a fresh interpreter; milliseconds from the request to the text. "cold" starts guest and
interpreter for the call, "warm" finds one that waits, as calls do that come `--pause` seconds apart: pools fill up
between calls. "session" is a further cell in an interpreter that keeps its state. "none" is the bare interpreter
without isolation.

The second table is calls per second without pauses. There the pool has nothing ahead: every guest that is used has to
be started in that time, and the cores are the limit.
"""

import argparse
import contextlib
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rich.console import Console
from rich.table import Table

from agentrl.envs.sandbox import ISOLATORS, PYTHON, Sandbox, SandboxUnavailable, WarmPool

CODE = "print(17 + 25)"
THREADS = (1, 4)


def milliseconds(call, calls, pause=0.0):
  """Of each of `calls` calls, after one that warms up."""
  assert call(CODE).stdout.strip() == "42"
  times = []
  for _ in range(calls):
    time.sleep(pause)
    started = time.perf_counter()
    call(CODE)
    times.append(1e3 * (time.perf_counter() - started))
  return times


def rate(call, calls, threads):
  """Calls per second of `threads` threads that never pause."""
  with ThreadPoolExecutor(threads) as pool:
    started = time.perf_counter()
    assert all(done.stdout == "42\n" for done in pool.map(call, [CODE] * calls))
    return calls / (time.perf_counter() - started)


def bare(code):
  """The interpreter without isolation."""
  return subprocess.run([*PYTHON, "-X", "utf8", "-c", code], capture_output=True, text=True, check=True)


def measure(name, a):
  """Rows of both tables for one isolator."""
  sandbox = Sandbox(isolator=name)
  with contextlib.ExitStack() as stack:
    cold = stack.enter_context(WarmPool(sandbox, size=0))
    warm = stack.enter_context(WarmPool(sandbox))
    session = stack.enter_context(contextlib.closing(warm.session()))
    latency = {
      "cold": milliseconds(cold.run, a.calls, a.pause),
      "warm": milliseconds(warm.run, a.calls, a.pause),
      "session": milliseconds(session.run, a.calls),
    }
    rates = {
      kind: [rate(pool.run, a.calls, threads) for threads in THREADS] for kind, pool in (("cold", cold), ("warm", warm))
    }
  return latency, rates


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--calls", type=int, default=60)
  parser.add_argument("--pause", type=float, default=0.3, help="seconds between calls")
  a = parser.parse_args()
  calls = Table("isolation", "start", "median ms", "95th percentile ms", "against cold")
  rates = Table("isolation", "start", *(f"calls/s, {threads} thread{'s' * (threads > 1)}" for threads in THREADS))
  for name in ISOLATORS:
    try:
      latency, by_kind = measure(name, a)
    except SandboxUnavailable as reason:
      calls.add_row(name, "not here", str(reason).splitlines()[0][:60], "", "")
      continue
    for kind, times in latency.items():
      calls.add_row(name, kind, *_summary(times), f"{np.median(times) / np.median(latency['cold']):.2f}")
    for kind, per_second in by_kind.items():
      rates.add_row(name, kind, *(f"{value:.0f}" for value in per_second))
  calls.add_row("none", "cold", *_summary(milliseconds(bare, a.calls, a.pause)), "")
  rates.add_row("none", "cold", *(f"{rate(bare, a.calls, threads):.0f}" for threads in THREADS))
  Console().print(calls)
  Console().print(rates)


def _summary(times):
  return f"{np.median(times):.1f}", f"{np.percentile(times, 95):.1f}"


if __name__ == "__main__":
  main()
