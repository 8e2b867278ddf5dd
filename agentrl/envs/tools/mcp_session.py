"""A session with one server of the Model Context Protocol, for callers on any thread.

The SDK is asyncio's alone, so every session has an event loop on a thread of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import dataclasses
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult
from mcp.types import Tool as McpTool

from agentrl.envs import output
from agentrl.envs.tool import ToolTimeout
from agentrl.envs.tools.mcp_process import ServerProcess
from agentrl.types import EnvironmentFailed

_CLOSE_SECONDS = 10.0  # more than the two graces of a process
_TOLD = (INVALID_PARAMS, INTERNAL_ERROR)  # codes of a call that the server refused, or in which its tool broke


@dataclasses.dataclass(frozen=True)
class Server:
  """A server as a config names it: `command` or `url`, not both.

  Attributes:
    command, args: of a server over stdio, run without a shell. env: on top of PATH, HOME and the like.
    cwd: where it runs; empty for the current folder.
    url: of a server over streamable HTTP. headers: of every request.
    tools: names of those that the policy may call; empty for all.
    shared: one session for all trajectories of a process, for servers that keep nothing between calls; else each
      trajectory has its own.
    start_seconds: until it has told its tools; then it has failed.
  """

  command: str = ""
  args: Sequence[str] = ()
  env: Mapping[str, str] = dataclasses.field(default_factory=dict)
  cwd: str = ""
  url: str = ""
  headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
  tools: Sequence[str] = ()
  shared: bool = False
  start_seconds: float = 30.0

  def __post_init__(self):
    if bool(self.command) == bool(self.url):
      raise ValueError(f"an MCP server has a command or a url, one of them; got {self.command!r} and {self.url!r}")
    if self.start_seconds <= 0:
      raise ValueError(f"start_seconds must be positive, got {self.start_seconds}")
    if isinstance(self.args, str) or isinstance(self.tools, str):
      raise ValueError(f"args and tools are lists of strings, got {self.args!r} and {self.tools!r}")


class Session:
  """Starts a server, or connects to it, on a thread; `tools` waits until that is done.

  Args:
    name: of the server, for errors.
    server: where it is.
  """

  def __init__(self, name: str, server: Server):
    self._name, self._server = name, server
    self._process = ServerProcess(server.command, server.args, server.env, server.cwd) if server.command else None
    self._opened: concurrent.futures.Future[Sequence[McpTool]] = concurrent.futures.Future()
    self._closed = False
    self._thread = threading.Thread(target=self._run, name=f"MCP {name}", daemon=True)
    self._thread.start()
    atexit.register(self.close)

  @property
  def alive(self) -> bool:
    """No call has found the server gone."""
    return not self._closed and self._thread.is_alive()

  def tools(self) -> Sequence[McpTool]:
    """What the server offers.

    Raises:
      EnvironmentFailed: it could not be started or reached in time.
    """
    try:
      return self._opened.result()
    except Exception as error:
      self.close()
      raise EnvironmentFailed(f"the MCP server {self._name!r} did not start: {_told(error)}") from error

  def call(self, tool: str, arguments: Mapping[str, Any], seconds: float) -> CallToolResult:
    """Calls a tool.

    Raises:
      EnvironmentFailed: the server is gone. MCPError: it refused the call.
      ToolTimeout: the tool took more than `seconds`; the server is told to stop it.
    """
    coroutine = self._call(tool, arguments, seconds)
    try:
      return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
    except (RuntimeError, concurrent.futures.CancelledError) as error:
      coroutine.close()
      if self.alive:
        raise
      raise EnvironmentFailed(f"the connection to the MCP server {self._name!r} is closed") from error

  def close(self) -> None:
    """Ends the session, and the process group of a server that it started.

    Raises:
      EnvironmentFailed: it does not end.
    """
    atexit.unregister(self.close)
    self._closed = True
    if self._opened.exception() is None:  # waits for a start that is under way, which has a deadline
      with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        self._loop.call_soon_threadsafe(self._over.set)
    self._thread.join(_CLOSE_SECONDS)
    if self._thread.is_alive():
      raise EnvironmentFailed(f"the session with the MCP server {self._name!r} does not end")

  def _run(self) -> None:
    try:
      asyncio.run(self._serve())
    except BaseException as error:
      if not self._opened.done():
        self._opened.set_exception(RuntimeError(_told(error)))

  async def _serve(self) -> None:
    self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
      try:
        async with asyncio.timeout(self._server.start_seconds):
          self._client = await stack.enter_async_context(Client(await self._transport(stack)))
          tools = await self._listed()
      except Exception as error:
        words = f"; {await self._process.last_words()}" if self._process else ""
        within = f"no tools within {self._server.start_seconds:g} s"
        raise RuntimeError((within if isinstance(error, TimeoutError) else _told(error)) + words) from error
      self._opened.set_result(tools)
      await self._over.wait()

  async def _transport(self, stack: contextlib.AsyncExitStack) -> Any:
    if self._process:
      return self._process.streams()
    read = httpx2.Timeout(30.0, read=None)  # how long a call may take is said by its caller
    client = httpx2.AsyncClient(
      headers=dict(self._server.headers), timeout=read, follow_redirects=True,
      event_hooks={"response": [_refuse_server_errors]},
    )  # fmt: skip
    return streamable_http_client(self._server.url, http_client=await stack.enter_async_context(client))

  async def _listed(self) -> Sequence[McpTool]:
    tools, cursor = [], None
    while True:
      page = await self._client.list_tools(cursor=cursor)
      tools += page.tools
      if not (cursor := page.next_cursor):
        return tools

  async def _call(self, tool: str, arguments: Mapping[str, Any], seconds: float) -> CallToolResult:
    try:
      async with asyncio.timeout(seconds):
        return await self._client.call_tool(tool, dict(arguments))
    except TimeoutError as error:
      raise ToolTimeout(f"no answer within {seconds:g} s") from error
    except MCPError as error:
      if error.code in _TOLD:
        raise
      self._closed = True
      words = f"; {await self._process.last_words()}" if self._process else ""
      raise EnvironmentFailed(f"the MCP server {self._name!r} was lost in a call of {tool}: {error}{words}") from error


async def _refuse_server_errors(response: httpx2.Response) -> None:
  """A server error of HTTP is a lost server, which the SDK would not tell from a tool that broke."""
  if response.status_code >= 500:
    raise httpx2.HTTPStatusError(f"HTTP status {response.status_code}", request=response.request, response=response)


def _told(error: BaseException) -> str:
  """The first exception in a group of them, as text."""
  while isinstance(error, BaseExceptionGroup):
    error = error.exceptions[0]
  return str(error) if isinstance(error, RuntimeError | EnvironmentFailed) else output.error_line(error)
