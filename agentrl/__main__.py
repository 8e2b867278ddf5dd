"""The command `agentrl`.

agentrl config configs/quickstart.py    prints a config with every key
agentrl config --explain rollout        says what the keys of a section are
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence

from agentrl.named import check_name

# Import path of the module whose `main(argv)` runs a command, imported when the command is asked for.
COMMANDS: Mapping[str, str] = {"config": "agentrl.training.explain"}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a command line; returns the exit status."""
  name, *rest = [*(sys.argv[1:] if argv is None else argv), ""]
  if name in ("", "-h", "--help"):
    print(f"{__doc__}\nCommands: {', '.join(COMMANDS)}; each has --help.")
    return 0
  try:
    check_name(COMMANDS, name, kind="command")
  except ValueError as error:
    print(error, file=sys.stderr)
    return 2
  return importlib.import_module(COMMANDS[name]).main(rest[:-1])


if __name__ == "__main__":
  sys.exit(main())
