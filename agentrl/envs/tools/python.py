"""Python interpreters as tools: `PythonTool` forgets between calls, `PythonSession` remembers.

Both show what code prints and the value of its last expression, as a notebook does.
"""

from __future__ import annotations

from agentrl.envs.sandbox import Completed, Limits, Session, WarmPool, shared_pool
from agentrl.envs.tool import Toolset, ToolTimeout
from agentrl.types import Task

_TRACEBACK_LINES = 8
_LINE_CHARS = 300
_NOT_RUN = (
  "[the interpreter had ended since the last call: its variables and files are gone, and this code was not run]"
)


class PythonTool:
  """The tool `python`. One object serves any number of trajectories: calls share nothing.

  Args:
    pool: where the code runs, with its limits; None for the shared one with the default limits.
    stdout_chars: characters of stdout that are told; what follows it, such as a traceback, is always told.

  Raises:
    SandboxUnavailable: code cannot be isolated on this machine.
  """

  def __init__(self, pool: WarmPool | None = None, *, stdout_chars: int = 1500):
    self._pool = shared_pool(Limits()) if pool is None else pool
    self._stdout_chars = _checked(stdout_chars)

  def python(self, code: str) -> str:
    """Runs Python code in a fresh interpreter; returns what it prints and the value of its last expression."""
    completed = self._pool.run(code)
    return _told(completed, [_ending(completed)], self._stdout_chars)


class PythonSession(Toolset):
  """The tool `python` with an interpreter of its own for each trajectory; it starts with the first call.

  A cell that ends the interpreter, or has it ended, costs the variables and files, which the policy is told.

  Args:
    pool: as of `PythonTool`. Its CPU time is that of all cells together.
    stdout_chars: as of `PythonTool`.

  Raises:
    SandboxUnavailable: code cannot be isolated on this machine.
  """

  def __init__(self, pool: WarmPool | None = None, *, stdout_chars: int = 1500):
    self._pool = shared_pool(Limits()) if pool is None else pool
    self._stdout_chars = _checked(stdout_chars)
    self._session: Session | None = None

  def reset(self, task: Task, seed: int) -> None:
    """Ends the interpreter of the episode before."""
    del task, seed
    self.close()

  def close(self) -> None:
    """Ends the interpreter."""
    if self._session is not None:
      self._session.close()
      self._session = None

  def python(self, code: str) -> str:
    """Runs Python code; variables are kept between calls. Returns what it prints and its last expression's value."""
    if self._session is None:
      self._session = self._pool.session()
    completed = self._session.run(code)
    if completed is None:
      return _NOT_RUN
    return _told(completed, [] if completed.alive else [_ending(completed), _lost(completed)], self._stdout_chars)


def _checked(stdout_chars: int) -> int:
  if stdout_chars <= 0:
    raise ValueError(f"stdout_chars must be positive, got {stdout_chars}")
  return stdout_chars


def _told(completed: Completed, notes: list[str], stdout_chars: int) -> str:
  """Everything that the policy reads of a call; a time-out is raised with it."""
  parts = [_head(completed.stdout, stdout_chars), _tail(completed.stderr), *notes]
  told = "\n".join(part.rstrip("\n") for part in parts if part)
  if completed.timed_out:
    raise ToolTimeout(told)
  return told


def _lost(completed: Completed) -> str:
  """Of a session whose interpreter is gone."""
  ended = "the interpreter was ended" if completed.killed_by else "the code ended the interpreter"
  return f"[{ended}: its variables and files are gone, and the next call starts a new one]"


def _head(stdout: str, chars: int) -> str:
  if len(stdout) <= chars:
    return stdout
  return f"{stdout[:chars]}\n[{len(stdout) - chars} characters of output left out]"


def _tail(stderr: str) -> str:
  """The last lines, each cut: the exception, and where it was raised."""
  lines = [line[:_LINE_CHARS] for line in stderr.rstrip("\n").split("\n")]
  dropped = len(lines) - _TRACEBACK_LINES
  return "\n".join(lines if dropped <= 0 else [f"[{dropped} lines of error output left out]", *lines[dropped:]])


def _ending(completed: Completed) -> str:
  if completed.timed_out:
    return f"[the code was stopped after {completed.seconds:.1f} s: it took too long]"
  if completed.killed_by == "output":
    return "[the code was stopped: it wrote too much output]"
  if completed.killed_by is not None:
    why = ", perhaps for using too much memory" if completed.killed_by == "SIGKILL" else ""
    return f"[the interpreter was ended by {completed.killed_by}{why}]"
  if completed.exit_code != 0 and not completed.stderr:
    return f"[exit code {completed.exit_code}]"
  return ""
