"""A session with one server of the Model Context Protocol, for callers on any thread.

The SDK is asyncio's alone, so every session has an event loop on a thread of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult
from mcp.types import Tool as McpTool

from agentrl.envs import credentials, output
from agentrl.envs.once import FewWords
from agentrl.envs.tool import ToolTimeout
from agentrl.envs.tools.mcp_listing import listing_checked
from agentrl.envs.tools.mcp_process import MESSAGE_BYTES, ServerProcess
from agentrl.envs.tools.mcp_settings import Server
from agentrl.types import EnvironmentFailed

MAX_TOOLS = 1000  # that a server may list unless the config names those it wants
_CLOSE_SECONDS = 10.0  # more than the graces of a process
_PROBE_SECONDS = 5.0

for _logger in ("client", "mcp.client.streamable_http", "mcp.shared.jsonrpc_dispatcher"):
  logging.getLogger(_logger).addFilter(FewWords())
logging.getLogger("httpx2").setLevel(logging.WARNING)  # at INFO it tells the URL of each request, query and all


class Refused(Exception):
  """A server answered a call with an error, in its own words."""


class Session:
  """Starts a server, or connects to it, on a thread; `tools` waits until that is done.

  Args:
    name: of the server, for errors.
    server: where it is.
  """

  def __init__(self, name: str, server: Server):
    self._name, self._server, self._secrets = name, server, server.secrets()
    self._process = None
    if server.command:
      self._process = ServerProcess(server.command, server.args, server.variables(), server.cwd)
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
      words = self.without_secrets(_told(error))
      raise EnvironmentFailed(f"the MCP server {self._name!r} did not start: {words}") from None

  def call(self, tool: str, arguments: Mapping[str, Any], seconds: float) -> CallToolResult:
    """Calls a tool.

    Raises:
      EnvironmentFailed: the server is gone.
      Refused: it answered with an error.
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

  def without_secrets(self, text: str) -> str:
    """The text without what the server was given to keep to itself."""
    return credentials.cut_out(text, self._secrets)

  def close(self) -> None:
    """Ends the session, and a server that it started with all its descendants.

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
      return listing_checked(self._name, self._secrets, self._process.streams())
    read = httpx2.Timeout(30.0, read=None)  # how long a call may take is said by its caller
    client = httpx2.AsyncClient(
      headers={"Accept-Encoding": "identity", **self._server.sent_headers()}, timeout=read, follow_redirects=True,
      event_hooks={"response": [_bound]},
    )  # fmt: skip
    http = streamable_http_client(self._server.address(), http_client=await stack.enter_async_context(client))
    return listing_checked(self._name, self._secrets, http)

  async def _listed(self) -> Sequence[McpTool]:
    """All tools; where the config names those it wants, no more than `MAX_TOOLS` of the others."""
    tools, count, cursor, wanted = [], 0, None, set(self._server.tools)
    while True:
      page = await self._client.list_tools(cursor=cursor)
      count += len(page.tools)
      if count > MAX_TOOLS and not wanted:
        raise RuntimeError(f"it lists more than {MAX_TOOLS} tools: name the wanted ones in servers.{self._name}.tools")
      tools += [tool for place, tool in enumerate(page.tools, len(tools)) if tool.name in wanted or place < MAX_TOOLS]
      if not (cursor := page.next_cursor):
        return tools

  async def _call(self, tool: str, arguments: Mapping[str, Any], seconds: float) -> CallToolResult:
    try:
      async with asyncio.timeout(seconds):
        return await self._client.call_tool(tool, dict(arguments))
    except TimeoutError as error:
      raise ToolTimeout(f"no answer within {seconds:g} s") from error
    except MCPError as error:
      told = self.without_secrets(str(error))
      if await self._answers():
        raise Refused(told) from None
      self._closed = True
      words = self.without_secrets(f"; {await self._process.last_words()}" if self._process else "")
      raise EnvironmentFailed(f"the MCP server {self._name!r} was lost in a call of {tool}: {told}{words}") from None

  async def _answers(self) -> bool:
    """Whether the server is still there, after an error that it may have sent, or the SDK in its place.

    Over HTTP, which of the two it was cannot be told by its code: the server is asked for its tools, then.
    """
    if self._process:
      return self._process.connected
    try:
      async with asyncio.timeout(_PROBE_SECONDS):
        await self._client.session.list_tools()
    except (MCPError, TimeoutError, ValueError):  # pydantic's error is a ValueError
      return False
    return True


class _Bounded(httpx2.AsyncByteStream):
  """The body of an answer, which breaks off where it is longer than any answer may be."""

  def __init__(self, stream: httpx2.AsyncByteStream):
    self._stream = stream

  async def __aiter__(self) -> AsyncIterator[bytes]:
    size = 0
    async for block in self._stream:
      size += len(block)
      if size > MESSAGE_BYTES:
        raise httpx2.ReadError(f"an answer of more than {MESSAGE_BYTES >> 20} MiB")
      yield block

  async def aclose(self) -> None:
    """Closes the stream."""
    await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
  """Bounds what answers a message; the stream that a server may speak on unasked is read message by message."""
  if response.request.method == "POST":
    response.stream = _Bounded(response.stream)


def _told(error: BaseException) -> str:
  """The first exception in a group of them, as text."""
  while isinstance(error, BaseExceptionGroup):
    error = error.exceptions[0]
  return str(error) if isinstance(error, RuntimeError | EnvironmentFailed) else output.error_line(error)
