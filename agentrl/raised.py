"""Where in a user's own code an exception was raised. Imports nothing of ours and no JAX."""

from __future__ import annotations

import os
import sysconfig
import traceback

_OURS = os.path.dirname(os.path.abspath(__file__))
_LIBRARIES = tuple(
  os.path.join(path, "") for path in (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), _OURS)
)


def place_of(error: BaseException) -> str:
  """Where an exception was raised, such as "my_env.py, line 31, in step"; empty where it never was.

  Of the calls that led to it the last one in code that is neither Python's, nor an installed library's, nor ours; the
  last of all where there is none. The file's folder is left out: it may name a user.
  """
  frames = traceback.extract_tb(error.__traceback__)
  users = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
  if not frames:
    return ""
  last = (users or frames)[-1]
  return f"{os.path.basename(last.filename)}, line {last.lineno}, in {last.name}"
