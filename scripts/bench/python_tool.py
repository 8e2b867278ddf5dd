"""What a call of the Python tool costs, under each way of isolation that this machine has.

  python scripts/bench/python_tool.py [--calls 100]

A call is a fresh interpreter in a fresh sandbox that prints a sum; milliseconds from the request to the text. The last
line is the same interpreter without isolation: what no sandbox can go below.
"""

import argparse
import subprocess
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from agentrl.envs.sandbox import ISOLATORS, PYTHON, Sandbox, SandboxUnavailable
from agentrl.envs.tools.python import PythonTool

CODE = "print(17 + 25)"


def milliseconds(call, calls):
  """Of each of `calls` calls, after one that warms up."""
  assert call().strip() == "42"
  times = []
  for _ in range(calls):
    started = time.perf_counter()
    call()
    times.append(1e3 * (time.perf_counter() - started))
  return times


def bare():
  """The interpreter without isolation."""
  return subprocess.run([*PYTHON, "-X", "utf8", "-c", CODE], capture_output=True, text=True, check=True).stdout


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--calls", type=int, default=100)
  arguments = parser.parse_args()
  table = Table("isolation", "median ms", "95th percentile ms", "against none")
  floor = milliseconds(bare, arguments.calls)
  rows = []
  for name in ISOLATORS:
    try:
      tool = PythonTool(Sandbox(isolator=name))
    except SandboxUnavailable as reason:
      rows.append((name, "not here", str(reason).splitlines()[0][:60], ""))
      continue
    times = milliseconds(lambda tool=tool: tool.python(CODE), arguments.calls)
    rows.append((name, *_summary(times), f"{np.median(times) / np.median(floor):.2f}"))
  for row in (*rows, ("none", *_summary(floor), "1.00")):
    table.add_row(*row)
  Console().print(table)


def _summary(times):
  return f"{np.median(times):.1f}", f"{np.percentile(times, 95):.1f}"


if __name__ == "__main__":
  main()
