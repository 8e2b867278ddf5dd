"""Commands as guests of the isolator that holds."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from agentrl.envs.children import heed_children
from agentrl.envs.sandbox.guest import Guest
from agentrl.envs.sandbox.isolators import ISOLATORS
from agentrl.envs.sandbox.limits import Completed, Limits
from agentrl.envs.sandbox.probe import probe


class Sandbox:
  """Runs commands as guests. Holds nothing but its limits: one object serves all threads.

  Limits count per guest, the number of processes included: it is set inside the guest's own user namespace, which has
  a count of its own since Linux 5.14.

  Args:
    limits: of each guest; None for the default ones.
    isolator: "bubblewrap" or "jail"; None for the first that holds.

  Raises:
    SandboxUnavailable: that isolator, or every one, does not hold on this machine.
    ValueError: an unknown isolator.
  """

  def __init__(self, limits: Limits | None = None, *, isolator: str | None = None):
    if isolator is not None and isolator not in ISOLATORS:
      raise ValueError(f"no isolator is called {isolator!r}; known: {', '.join(ISOLATORS)}")
    heed_children()  # a guest's exit code says whether it was killed
    self._limits = Limits() if limits is None else limits
    self._isolate = ISOLATORS[probe(tuple(ISOLATORS) if isolator is None else (isolator,)).isolator]

  def run(self, command: Sequence[str], stdin: str = "") -> Completed:
    """Runs a command until it ends or a limit is reached; nothing of it is left running.

    Args:
      command: an absolute path under /usr and its arguments; a Python guest is `[*PYTHON, "-c", code]`.
      stdin: text that the command can read; lone surrogates reach it as "?".

    Raises:
      EnvironmentFailed: the guest could not be started, or its monitor was lost.
    """
    with contextlib.closing(Guest(self._isolate, command, self._limits)) as guest:
      return guest.run(stdin.encode(errors="replace"))

  def start(self, command: Sequence[str]) -> Guest:
    """Starts an interpreter that takes cells; the caller ends it, and its thread outlives it (see `Guest`)."""
    return Guest(self._isolate, command, self._limits, takes_cells=True)
