"""A Python interpreter as a tool: each call is a fresh guest of the sandbox."""

from __future__ import annotations

from agentrl.envs.sandbox import PYTHON, Completed, Sandbox
from agentrl.envs.tool import ToolTimeout

_TRACEBACK_LINES = 8
_LINE_CHARS = 300

# Runs stdin as a notebook cell would: the value of a last expression is printed. The code becomes a file so that
# tracebacks can show its lines, and it runs in `__main__`, emptied first. Every exception is shown from the frame of
# the code on. It takes `ast` and `traceback` from the interpreter's core, whose modules would cost ten milliseconds.
_CELL = """
def cell():
  import _ast, os, sys
  source = sys.stdin.buffer.read()
  os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
  for stream in (sys.stdout, sys.stderr):
    stream.reconfigure(errors="backslashreplace")
  with open("code.py", "wb") as file:
    file.write(source)
  names = sys.modules["__main__"].__dict__
  del names["cell"]
  try:
    tree = compile(source, "code.py", "exec", _ast.PyCF_ONLY_AST)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
    cell_code = compile(tree, "code.py", "exec")
    value_code = None if last is None else compile(_ast.Expression(last.value), "code.py", "eval")
  except Exception as error:
    sys.__excepthook__(type(error), error.with_traceback(None), None)
    sys.exit(1)
  try:
    exec(cell_code, names)
    value = None if value_code is None else eval(value_code, names)
    if value is not None:
      print(repr(value))
  except Exception as error:
    frames = error.__traceback__.tb_next
    sys.__excepthook__(type(error), error.with_traceback(frames), frames)
    sys.exit(1)

cell()
"""


class PythonTool:
  """The tool `python`. One object serves any number of trajectories: calls share nothing.

  Args:
    sandbox: where the code runs, with its limits; None for the default ones.
    stdout_chars: characters of stdout that are told; what follows it, such as a traceback, is always told.

  Raises:
    SandboxUnavailable: code cannot be isolated on this machine.
  """

  def __init__(self, sandbox: Sandbox | None = None, *, stdout_chars: int = 1500):
    if stdout_chars <= 0:
      raise ValueError(f"stdout_chars must be positive, got {stdout_chars}")
    self._sandbox = Sandbox() if sandbox is None else sandbox
    self._stdout_chars = stdout_chars

  def python(self, code: str) -> str:
    """Runs Python code in a fresh interpreter; returns what it prints and the value of its last expression."""
    completed = self._sandbox.run([*PYTHON, "-X", "utf8", "-c", _CELL], stdin=code)
    parts = [_head(completed.stdout, self._stdout_chars), _tail(completed.stderr), _ending(completed)]
    told = "\n".join(part.rstrip("\n") for part in parts if part)
    if completed.timed_out:
      raise ToolTimeout(told)
    return told


def _head(stdout: str, chars: int) -> str:
  if len(stdout) <= chars:
    return stdout
  return f"{stdout[:chars]}\n[{len(stdout) - chars} characters of output left out]"


def _tail(stderr: str) -> str:
  """The last lines, each cut: the exception, and where it was raised."""
  lines = [line[:_LINE_CHARS] for line in stderr.splitlines()]
  dropped = len(lines) - _TRACEBACK_LINES
  return "\n".join(lines if dropped <= 0 else [f"[{dropped} lines of error output left out]", *lines[dropped:]])


def _ending(completed: Completed) -> str:
  if completed.timed_out:
    return f"[the code was stopped after {completed.seconds:.1f} s: it took too long]"
  if completed.killed_by == "output":
    return "[the code was stopped: it wrote too much output]"
  if completed.killed_by is not None:
    return f"[the interpreter was ended by {completed.killed_by}]"
  if completed.exit_code != 0 and not completed.stderr:
    return f"[exit code {completed.exit_code}]"
  return ""
