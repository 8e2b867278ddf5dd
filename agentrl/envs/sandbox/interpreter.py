"""Runs in a guest: an interpreter that takes cells, and prints the value of a last expression as a notebook does.

`warm.py` hands this file to the system's interpreter as text, with the number of the channel's file descriptor:

  python3 -I -S -X utf8 -c SOURCE CHANNEL

A cell comes on stdin: eight hexadecimal digits, then as many bytes. On the channel goes "b" once its size is known, as
what it takes to read it is the cell's doing, and "0" or "1" behind it. When stdin ends, so does the interpreter, with
that as its exit code. Nothing here needs to be trusted: code that reads the next cell, or says that it has ended,
cheats only itself.

A cell becomes a file so that tracebacks can show its lines. Importing `ast` or `traceback` would double the start-up.
"""

import _ast
import os
import site
import sys

_BEGINNING = {name: value for name, value in globals().items() if name.startswith("__")}  # as of any script
_FOLDER = "/tmp"  # of the cells' files
_SHOWN_CHARS = 50_000  # of a value
_HIDDEN = ("/usr/", "/lib", "<frozen")  # frames of the library say little that the exception does not


def serve(cells: int, channel: int):
  """Takes cells until there are no more; returns the exit code."""
  names = _fresh_main()
  status = number = 0
  while (size := _next_size(cells)) is not None:
    number += 1
    owner = os.getpid()
    os.write(channel, b"b")
    status = _run(_read(cells, size), "code.py" if number == 1 else f"code{number}.py", names)
    for stream in (sys.stdout, sys.stderr):
      _flush(stream)
    if os.getpid() != owner:  # a child that the cell forked and did not end
      os._exit(status)
    try:
      os.write(channel, b"%d" % status)
    except OSError:  # the cell closed it, and the end of this process is the one sign left
      return status
  return status


def _fresh_main():
  """The names of a new `__main__` in place of this one: those that a script begins with."""
  module = type(sys)("__main__")
  module.__dict__.update(_BEGINNING, __doc__=None, __cached__=None)
  sys.modules["__main__"] = module
  return module.__dict__


def _next_size(cells: int):
  try:
    size = _read(cells, 8)
    return int(size, 16) if size else None
  except OSError:  # a cell closed it
    return None


def _read(cells: int, size: int):
  parts = []
  while size > 0:
    part = os.read(cells, min(size, 1 << 20))
    if not part:
      break
    parts.append(part)
    size -= len(part)
  return b"".join(parts)


def _run(source: bytes, name: str, names: dict):
  """Runs a cell and shows how it ended; 1 where it raised."""
  try:
    with open(f"{_FOLDER}/{name}", "wb") as file:
      file.write(source)
  except OSError:  # the scratch folder is full, or gone: tracebacks will do without lines
    pass
  names["__file__"] = f"{_FOLDER}/{name}"
  try:
    tree = compile(source, name, "exec", _ast.PyCF_ONLY_AST)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
    cell = compile(tree, name, "exec")
    value = None if last is None else compile(_ast.Expression(last.value), name, "eval")
  except Exception as error:
    _report(error.with_traceback(None))
    return 1
  try:
    exec(cell, names)
    if value is not None:
      _show(eval(value, names))
  except SystemExit:
    raise
  except BaseException as error:
    _trim(error)
    _report(error)
    return 1
  return 0


def _report(error: BaseException):
  """By the cell's own hook, if it has one."""
  try:
    sys.excepthook(type(error), error, error.__traceback__)
  except BaseException:
    sys.__excepthook__(type(error), error, error.__traceback__)


def _show(value: object):
  if value is None:
    return
  text = repr(value)
  if len(text) > _SHOWN_CHARS:
    text = f"{text[:_SHOWN_CHARS]}\n[the first {_SHOWN_CHARS} of {len(text)} characters]"
  print(text)


def _trim(error: BaseException):
  """Leaves the cell's own frames of an exception, and of those that it came from."""
  seen = set()
  while error is not None and id(error) not in seen:
    seen.add(id(error))
    frames, entry = [], error.__traceback__
    while entry is not None:
      name = entry.tb_frame.f_code.co_filename
      if entry.tb_frame.f_globals is not globals() and not name.startswith(_HIDDEN):
        frames.append(entry)
      entry = entry.tb_next
    kept = None
    for entry in reversed(frames):
      kept = type(entry)(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    error.__traceback__ = kept
    error = error.__cause__ or error.__context__


def _flush(stream: object):
  try:
    stream.flush()
  except Exception:  # a cell may have closed it or put anything in its place
    return


def main(channel: int):
  """Keeps stdin for itself: a cell that reads finds its end. Gives back what -I and -S take away and a script has.

  Modules that cells write are looked for behind those of the library: `code.py` is one of either.
  """
  sys.argv[:] = ["code.py"]
  sys.path.append(_FOLDER)
  for give in (site.setquit, site.setcopyright, site.sethelper):  # exit, copyright and help, with their likes
    give()
  cells = os.dup(0)
  nothing = os.open("/dev/null", os.O_RDONLY)
  os.dup2(nothing, 0)
  os.close(nothing)
  os.set_inheritable(channel, False)
  sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
  sys.stderr.reconfigure(errors="backslashreplace")
  return serve(cells, channel)


if __name__ == "__main__":
  sys.exit(main(int(sys.argv.pop())))
