"""Tools of any server of the Model Context Protocol (https://modelcontextprotocol.io), over stdio or streamable HTTP.

In a config:

  "task": {
    "tool": "mcp",
    "tool_options": {"servers": {
      "weather": {"command": "python", "args": ["weather_server.py"], "env_from": ["WEATHER_TOKEN"]},
      "issues": {"url": "https://issues.example/mcp", "headers": {"Authorization": "Bearer ${ISSUES_TOKEN}"}},
    }},
    "oracle_tool": "none",
  }

A server that dies is the environment's failure; whatever error it answers a call with is its tool's, and told to the
policy. What cannot be shown as text is named and left out. Tools are listed once, when the environment is made.

A tool that cannot be shown is left out with a warning, and one whose schema is no JSON schema, or cannot be judged
here, gets its arguments unchecked: servers check them too. Arguments are checked in a process that is killed when a
schema makes that long, see `envs/validation.py`.

Credentials are named, not written: `env_from` and "${NAME}" take them from the trainer's environment. Values that a
config does hold under `env` and `headers` reach the server, and everything that is written down (config.json, the
command in run.json, the tracker's config) has "<redacted>" in their place, so that a folder with such a run can be gone
on with by its config file, and not evaluated alone. The texts of a server, its errors, last words and the
descriptions of its tools among them, are told without the values that it was given.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcp.types import AudioContent, CallToolResult, ImageContent, ResourceLink, TextContent, TextResourceContents
from mcp.types import Tool as McpTool

from agentrl.envs import output
from agentrl.envs.tool import Tool, ToolError, Toolset, ToolSpec, given_tool, unchecked_tool
from agentrl.envs.tools.mcp_session import Refused, Session
from agentrl.envs.tools.mcp_settings import Server
from agentrl.named import check_name
from agentrl.types import EnvironmentFailed

_SAYS_NOTHING = {"$schema", "type", "title", "description"}  # of a schema: of which arguments there are
_shared: dict[str, Session] = {}
_shared_lock = threading.Lock()


class McpTools(Toolset):
  """The tools of one or more servers; it has none of its own.

  A tool's name that more than one server uses gets the server's name in front: "files_search" and "web_search".

  Args:
    servers: settings of each by its name, see `Server`.
    call_seconds: deadline of a call, after which the server is told to stop it. It must be less than the deadline in
      `ToolLimits`, which comes without the server's knowledge.

  Raises:
    EnvironmentFailed: a server did not start.
    ValueError: wrong settings, or tools that a server does not have.
  """

  def __init__(self, servers: Mapping[str, Mapping[str, Any]], *, call_seconds: float = 4.0):
    if not servers:
      raise ValueError("the tool 'mcp' needs tool_options.servers, such as {'weather': {'command': 'weather-server'}}")
    self._call_seconds = call_seconds
    known = {name: read_server(name, settings) for name, settings in servers.items()}
    self._own: list[Session] = []
    try:
      sessions = {name: self._session(name, server) for name, server in known.items()}  # they start side by side
      offered = {name: _chosen(name, server, sessions[name].tools()) for name, server in known.items()}
      self._tools = self._collect(sessions, known, offered)
    except BaseException:
      self.close()
      raise

  def tools(self) -> Sequence[Tool]:
    """Those of all servers, in order; not a tool."""
    return self._tools

  def close(self) -> None:
    """Ends the sessions of this trajectory and the servers it started; not a tool.

    Raises:
      EnvironmentFailed: one of them does not end.
    """
    errors = []
    while self._own:
      try:
        self._own.pop().close()
      except EnvironmentFailed as error:
        errors.append(error)
    if errors:
      raise errors[0]

  def _session(self, name: str, server: Server) -> Session:
    if server.shared:
      return _shared_session(name, server)
    self._own.append(Session(name, server))
    return self._own[-1]

  def _collect(
    self, sessions: Mapping[str, Session], known: Mapping[str, Server], offered: Mapping[str, Sequence[McpTool]]
  ) -> list[Tool]:
    count = collections.Counter(tool.name for tools in offered.values() for tool in tools)
    collected = {}
    for server, tools in offered.items():
      deadline = time.monotonic() + known[server].start_seconds
      for tool in tools:
        name = f"{server}_{tool.name}" if count[tool.name] > 1 else tool.name
        if name in collected:
          raise ValueError(
            f"two tools of MCP servers would be called {name!r}: rename a server, or use servers.*.tools"
          )
        collected[name] = _as_tool(name, tool, self._caller(sessions[server], tool))
        if time.monotonic() > deadline:
          raise EnvironmentFailed(
            f"the schemas of the {len(tools)} tools of the MCP server {server!r} could not be read within "
            f"{known[server].start_seconds:g} s: name the wanted tools in servers.{server}.tools"
          )
    return list(collected.values())

  def _caller(self, session: Session, tool: McpTool) -> Callable[..., str]:
    def call(**arguments: Any) -> str:
      try:
        result = session.call(tool.name, arguments, self._call_seconds)
      except Refused as error:
        raise ToolError(str(error)) from error
      text = session.without_secrets(to_text(result))
      if result.is_error:
        raise ToolError(text)
      return text

    return call


def read_server(name: str, settings: Mapping[str, Any]) -> Server:
  """The settings of one server.

  Raises:
    ValueError: an unknown setting, or a wrong one; names the server.
  """
  fields = {field.name: field for field in dataclasses.fields(Server)}
  try:
    for key in settings:
      check_name(fields, key, kind="setting of an MCP server")
    return Server(**settings)
  except (TypeError, ValueError) as error:
    raise ValueError(f"servers.{name}: {error}") from error


def close_shared() -> None:
  """Ends the servers that trajectories share; the end of the process does so too."""
  with _shared_lock:
    while _shared:
      _shared.popitem()[1].close()


def to_text(result: CallToolResult) -> str:
  """Content blocks as text, one a line; structured content where the blocks do not say it already."""
  lines = [_block_text(block) for block in result.content]
  if result.structured_content is not None and not _says(result):
    lines.append(json.dumps(result.structured_content, ensure_ascii=False))
  return "\n".join(lines)


def _shared_session(name: str, server: Server) -> Session:
  """One for every way of naming a server; a lost one is replaced."""
  key = json.dumps([name, dataclasses.asdict(server)], sort_keys=True)
  with _shared_lock:
    if key not in _shared or not _shared[key].alive:
      _shared[key] = Session(name, server)
    return _shared[key]


def _chosen(name: str, server: Server, offered: Sequence[McpTool]) -> Sequence[McpTool]:
  count = collections.Counter(tool.name for tool in offered if tool.name in (server.tools or [tool.name]))
  if twice := [tool for tool in count if count[tool] > 1]:
    raise ValueError(
      f"the MCP server {name!r} lists two tools called {twice[0]!r}, and a call could not say which one it means: name "
      f"the other tools in servers.{name}.tools, without it"
    )
  tools = {tool.name: tool for tool in offered}
  try:
    for tool in server.tools:
      check_name(tools, tool, kind="tool")
  except ValueError as error:
    raise ValueError(f"servers.{name}.tools: {error}") from error
  return [tools[tool] for tool in server.tools or tools]


def _as_tool(name: str, tool: McpTool, function: Callable[..., str]) -> Tool:
  description = " ".join((tool.description or tool.title or "").split())
  any_arguments = {"additionalProperties": True} if set(tool.input_schema) <= _SAYS_NOTHING else {}
  spec = ToolSpec(name, description, {"properties": {}, **any_arguments, **tool.input_schema})
  try:
    return given_tool(spec, function)
  except ValueError as error:
    return unchecked_tool(spec, function, str(error))


def _says(result: CallToolResult) -> bool:
  """Whether the text blocks are the structured content; SDKs wrap what is no object as {"result": ...}."""
  texts = [block.text for block in result.content if isinstance(block, TextContent)]
  whole = result.structured_content
  inner = whole["result"] if isinstance(whole, dict) and set(whole) == {"result"} else whole
  said = [_json_or_text(text) for text in texts]
  return said in ([whole], [inner]) or said == inner or texts == [output.to_text(inner)]


def _json_or_text(text: str) -> Any:
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    return text


def _block_text(block: Any) -> str:
  match block:
    case TextContent():
      return block.text
    case ImageContent() | AudioContent():
      return f"[{block.type} left out: {block.mime_type}, {_size(block.data)} bytes]"
    case ResourceLink():
      return f"[resource {block.name}: {block.uri}]"
  resource = block.resource
  if isinstance(resource, TextResourceContents):
    return resource.text
  return f"[resource {resource.uri} left out: {resource.mime_type or 'unknown type'}, {_size(resource.blob)} bytes]"


def _size(data: str) -> int:
  """Bytes that a text of base64 stands for, whether or not it is well formed."""
  return len(data.rstrip("=")) * 3 // 4
