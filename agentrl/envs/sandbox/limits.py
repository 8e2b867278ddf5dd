"""What a guest may use, and how it ended."""

from __future__ import annotations

import dataclasses


class SandboxUnavailable(RuntimeError):
  """No isolation can be had on this machine; the text says what was tried and what to install."""


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one guest may use.

  Attributes:
    wall_seconds: until the whole tree is killed; of each cell, in an interpreter that takes several. Below a tool's
      `call_seconds`, so that the guest goes first.
    cpu_seconds: whole seconds, per process, from its start to its end. A tree that goes on making processes is bounded
      by `wall_seconds` alone, and in a session by its end; its priority is low (`isolators.py`, `cgroup.py`).
    memory_bytes: address space per process. Where a cgroup can be had, all memory of the tree too, with what the kernel
      keeps for it, its scratch folder apart. Elsewhere a tree may use that for each of its processes, beside what the
      kernel keeps for them: up to 14 MB in the pipes and socket pairs of one, with the kernel's usual settings, and
      page tables that can be nearly as large as its memory where it is spread out. System calls that would hold memory
      in other ways are refused.
    processes: processes and threads of the tree.
    output_bytes: stdout and stderr together; a guest that writes more is killed.
    file_bytes: size of the scratch folder, which lives in memory. It takes `files` files and folders.
  """

  wall_seconds: float = 4.0
  cpu_seconds: int = 4
  memory_bytes: int = 512 << 20
  processes: int = 16
  output_bytes: int = 1 << 18
  file_bytes: int = 16 << 20

  @property
  def files(self) -> int:
    """One for each page of the scratch folder, but 1024 at least."""
    return max(self.file_bytes // 4096, 1024)

  def __post_init__(self):
    for name, value in vars(self).items():
      if value <= 0 or (name != "wall_seconds" and value != int(value)):
        kind = "a positive number" if name == "wall_seconds" else "a positive whole number"
        raise ValueError(f"Limits.{name} must be {kind}, got {value}")


@dataclasses.dataclass(frozen=True)
class Completed:
  """How a guest, or one cell of it, ended.

  Attributes:
    stdout: what it wrote, with `stderr` at most `Limits.output_bytes`; bytes that are not UTF-8 are replaced.
    stderr: what it wrote there.
    exit_code: as in a shell, 128 + signal where a signal ended it; None where the sandbox killed it. Of a cell whose
      interpreter lives on: 1 where it raised, else 0.
    killed_by: "wall time", "output", or the name of the signal that ended it; else None.
    seconds: wall time.
    alive: the interpreter waits for another cell.
  """

  stdout: str
  stderr: str
  exit_code: int | None
  killed_by: str | None
  seconds: float
  alive: bool = False

  @property
  def timed_out(self) -> bool:
    """It ran out of wall or CPU time."""
    return self.killed_by in ("wall time", "SIGXCPU")
