"""Shows which layers of isolation hold on this machine; exit code 1 where no isolator does.

python -m agentrl.envs.sandbox
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from agentrl.envs.sandbox.isolators import ISOLATORS, Isolator
from agentrl.envs.sandbox.probe import INSTALL, SandboxReport, look_inside, unsupported
from agentrl.types import EnvironmentFailed

_WORDS = {True: "holds", False: "[bold red]does not hold[/]"}
_CGROUP = (
  "tree_memory_capped needs a control group that this process may write: be root on the host or in a container with "
  "its own (`docker run --cgroupns=private --privileged`), or start with `systemd-run --user --scope -p Delegate=yes`. "
  "Without one, memory is limited per process, and what code leaves running between calls competes for the cores."
)


def look(isolators: Mapping[str, Isolator]) -> dict[str, SandboxReport | str]:
  """What a guest of each isolator found, or why there was none."""
  if reason := unsupported():
    return dict.fromkeys(isolators, reason)
  found: dict[str, SandboxReport | str] = {}
  for name, isolate in isolators.items():
    try:
      found[name] = look_inside(name, isolate)
    except EnvironmentFailed as error:
      found[name] = str(error)
  return found


def table_of(found: Mapping[str, SandboxReport | str]) -> Table:
  """A row per layer, a column per isolator."""
  table = Table("layer", *found, "what was tried")
  for field in dataclasses.fields(SandboxReport)[1:]:
    table.add_row(field.name, *(_cell(report, field) for report in found.values()), field.metadata["meaning"])
  return table


def _cell(report: SandboxReport | str, field: dataclasses.Field) -> str:
  if isinstance(report, str):
    return "no guest"
  return _WORDS.get(getattr(report, field.name), field.metadata["absent"])


def main(arguments: list[str] | None = None) -> int:
  """Prints the table; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog="python -m agentrl.envs.sandbox", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.parse_args(arguments)
  found = look(ISOLATORS)
  console = Console(soft_wrap=True)
  console.print(table_of(found))
  reports = [report for report in found.values() if isinstance(report, SandboxReport)]
  chosen = next((report.isolator for report in reports if not report.open_layers), None)
  for name, reason in found.items():
    if isinstance(reason, str):
      console.print(f"{name} is not available: {reason}", markup=False)
  if any(report.tree_memory_capped is None for report in reports):
    console.print(_CGROUP, markup=False)
  if chosen is None:
    console.print(f"No isolator holds: tools that run code will refuse to start. {INSTALL}", markup=False)
    return 1
  console.print(f"Code runs in: {chosen}.")
  return 0


if __name__ == "__main__":
  sys.exit(main())
