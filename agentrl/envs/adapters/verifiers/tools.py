"""Toolsets of verifiers, run in this process on an event loop of the episode's own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import verifiers.v1 as vf
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import MCPServerError

from agentrl.envs.tool import Tool, ToolError, ToolSpec, ToolTimeout, given_tool
from agentrl.envs.tools.mcp import to_text

T = TypeVar("T")


class EventLoop:
  """An asyncio loop on a thread, for the coroutines that tasks, rewards and tools are made of."""

  def __init__(self):
    self._loop = asyncio.new_event_loop()
    self._thread = threading.Thread(target=self._loop.run_forever, name="verifiers", daemon=True)
    self._thread.start()

  def run(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """The coroutine's result, or its exception.

    Raises:
      TimeoutError: it took longer, and was cancelled.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
    try:
      return future.result(seconds)
    except concurrent.futures.TimeoutError:
      if future.done():  # the coroutine's own
        raise
      future.cancel()
      raise TimeoutError(f"no answer within {seconds:g} s") from None

  def close(self) -> None:
    """Stops the loop; a coroutine that blocks it keeps its thread, which dies with the process."""
    self._loop.call_soon_threadsafe(self._loop.stop)
    self._thread.join(1.0)
    if not self._thread.is_alive():
      self._loop.close()


async def open_toolset(toolset: vf.Toolset, trace: vf.Trace, data: vf.TaskData | None) -> MCPServer:
  """Sets a toolset up and collects its tools.

  The package runs toolsets as servers that read and write the rollout's state over HTTP. Here both are in one process,
  so the two methods that do so give the trace's own state.

  Args:
    data: of the task; None for a toolset that all tasks share.
  """

  async def pull() -> vf.State:
    return trace.state

  async def push(before: bytes) -> None:
    del before  # the state was changed in place

  toolset._pull_state, toolset._push_state = pull, push
  await toolset.setup()
  if data is not None:
    await toolset.setup_task(data)
  server = MCPServer(toolset.server_name or type(toolset).__name__)
  toolset.register(server)
  return server


async def close_toolset(toolset: vf.Toolset) -> None:
  """Frees what the toolset opened."""
  await toolset._exit_stack.aclose()


async def tools_of(toolset: vf.Toolset, server: MCPServer, loop: EventLoop, seconds: float) -> Sequence[Tool]:
  """Its tools under the names that the package gives them: the toolset's name in front, unless it has none."""
  prefix = f"{toolset.server_name}_" if toolset.server_name else ""
  tools = []
  for tool in await server.list_tools():
    spec = ToolSpec(
      prefix + tool.name, " ".join((tool.description or "").split()), {"properties": {}, **tool.input_schema}
    )
    tools.append(given_tool(spec, _caller(server, tool.name, loop, seconds)))
  return tools


def _caller(server: MCPServer, name: str, loop: EventLoop, seconds: float):
  def call(**arguments: Any) -> str:
    try:
      result = loop.run(server.call_tool(name, arguments), seconds)
    except TimeoutError as error:
      raise ToolTimeout(str(error)) from error
    except MCPServerError as error:
      raise ToolError(str(error)) from error
    text = to_text(result)
    if result.is_error:
      raise ToolError(text)
    return text

  return call
