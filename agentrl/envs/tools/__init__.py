"""Tools that a config can name. What one needs is imported when it is asked for."""

from __future__ import annotations

import inspect
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from agentrl.envs.tool import ToolLimits
from agentrl.named import by_name, check_name

_SESSION_CALLS = 16  # calls of a Python session that may use all of their time


def _no_tools(limits: ToolLimits) -> Any:
  del limits
  return object()


def _calculator(limits: ToolLimits) -> Any:
  del limits
  from agentrl.envs.tools.calculator import Calculator

  return Calculator()


def _python(limits: ToolLimits) -> Any:
  """Its guest is killed before the call's deadline, and half of what is shown is kept for a traceback."""
  from agentrl.envs.sandbox import Limits, shared_pool
  from agentrl.envs.tools.python import PythonTool

  guest = Limits(wall_seconds=0.8 * limits.call_seconds, cpu_seconds=math.ceil(limits.call_seconds))
  return PythonTool(shared_pool(guest), stdout_chars=math.ceil(limits.max_output_chars / 2))


def _python_session(limits: ToolLimits) -> Any:
  """As `_python`; CPU time is that of all calls of an episode."""
  from agentrl.envs.sandbox import Limits, shared_pool
  from agentrl.envs.tools.python import PythonSession

  guest = Limits(wall_seconds=0.8 * limits.call_seconds, cpu_seconds=math.ceil(_SESSION_CALLS * limits.call_seconds))
  return PythonSession(shared_pool(guest), stdout_chars=math.ceil(limits.max_output_chars / 2))


def _lookup(limits: ToolLimits) -> Any:
  del limits
  from agentrl.envs.tools.lookup import KeyTable

  return KeyTable()


def _lookup_and_calculator(limits: ToolLimits) -> Any:
  del limits
  from agentrl.envs.tools.lookup import TableAndCalculator

  return TableAndCalculator()


def _experts(limits: ToolLimits) -> Any:
  del limits
  from agentrl.envs.tools.experts import Experts

  return Experts()


def _files(limits: ToolLimits) -> Any:
  from agentrl.envs.tools.files import FileLimits, FileTool

  return FileTool(FileLimits(page_chars=_room(limits)))


def _sql(limits: ToolLimits, *, path: str = "") -> Any:
  """A statement is stopped before the call's deadline."""
  from agentrl.envs.tools.sql import SqlLimits, SqlTool

  return SqlTool("sqlite", SqlLimits(seconds=0.6 * limits.call_seconds, table_chars=_room(limits)), _file(path))


def _duckdb(limits: ToolLimits, *, path: str = "") -> Any:
  from agentrl.envs.tools.sql import SqlLimits, SqlTool

  return SqlTool("duckdb", SqlLimits(seconds=0.6 * limits.call_seconds, table_chars=_room(limits)), _file(path))


def _search(limits: ToolLimits, *, corpus: str = "") -> Any:
  from agentrl.envs.tools.corpus import open_corpus
  from agentrl.envs.tools.search import SearchLimits, SearchTool

  return SearchTool(open_corpus(corpus) if corpus else None, SearchLimits(page_chars=_room(limits)))


def _file(path: str) -> pathlib.Path | None:
  """Of a config, where an empty one is for what the task names."""
  return pathlib.Path(path) if path else None


def _room(limits: ToolLimits) -> int:
  """Characters of a page, so that the note on how to read on is not cut."""
  return max(limits.max_output_chars - 200, 100)


def _mcp(limits: ToolLimits, *, servers: Mapping[str, Mapping[str, Any]] | None = None) -> Any:
  """The server is told to stop a call before the call's deadline."""
  try:
    from agentrl.envs.tools.mcp import McpTools
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f"the tool 'mcp' needs {error.name}, which is not installed: pip install 'agentrl[mcp]', or in a clone "
      "pip install -e '.[mcp]'",
      name=error.name,
    ) from error
  return McpTools(servers or {}, call_seconds=0.8 * limits.call_seconds)


# Toolsets by name, made anew for each environment, from the limits and the tool options of the config. What a tool
# needs is imported when it is asked for.
TOOLS: Mapping[str, Callable[..., Any]] = {
  "none": _no_tools,
  "calculator": _calculator,
  "python": _python,
  "python_session": _python_session,
  "lookup": _lookup,
  "lookup_and_calculator": _lookup_and_calculator,
  "experts": _experts,
  "files": _files,
  "sql": _sql,
  "duckdb": _duckdb,
  "search": _search,
  "mcp": _mcp,
}


def check_options(tool: str, options: Mapping[str, Any]) -> None:
  """Raises ValueError where there is no such tool, or it takes no such option; names the nearest."""
  _, *known = inspect.signature(by_name(TOOLS, tool, kind="tool")).parameters  # the first takes the limits
  for name in options:
    check_name(known, name, kind=f"option of the tool {tool!r}")
