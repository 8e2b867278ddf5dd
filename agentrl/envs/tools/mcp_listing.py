"""The tools that a server lists, looked through before the SDK reads them: one odd tool does not cost the others.

The SDK takes a list in which one tool is malformed for no answer at all, and it would check what tools give against
their output schemas on the session's thread, for as long as a schema likes. So every answer that lists tools passes
through here: a tool that cannot be shown is left out, with a warning that names it, and of the others go on a name, a
description and the schema of the arguments.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCResponse

from agentrl.envs import credentials
from agentrl.envs.once import warn_once

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")  # what the protocol recommends; others could be read as chat markup
_SPEC_CHARS = 1 << 16  # of a tool's description and schema
_SHOWN_CHARS = 80  # of an odd name


@contextlib.asynccontextmanager
async def listing_checked(
  server: str, secrets: Sequence[str], transport: AbstractAsyncContextManager[tuple[Any, Any]]
) -> AsyncIterator[tuple[Any, Any]]:
  """The streams of a transport, in which every list of tools is made fit to be read.

  Args:
    server: its name.
    secrets: values that are cut out of whatever it says of its tools.
    transport: of the SDK.
  """
  async with transport as (from_server, to_server):
    yield _Checked(server, secrets, from_server), to_server


class _Checked:
  """A stream of messages, as the SDK reads it; see its `ReadStream`."""

  def __init__(self, server: str, secrets: Sequence[str], stream: Any):
    self._server, self._secrets, self._stream = server, secrets, stream

  async def receive(self) -> SessionMessage | Exception:
    """The next message."""
    return self._checked(await self._stream.receive())

  async def aclose(self) -> None:
    """Closes the stream."""
    await self._stream.aclose()

  def __aiter__(self) -> _Checked:
    return self

  async def __anext__(self) -> SessionMessage | Exception:
    return self._checked(await self._stream.__anext__())

  async def __aenter__(self) -> _Checked:
    await self._stream.__aenter__()
    return self

  async def __aexit__(self, *error: Any) -> bool | None:
    return await self._stream.__aexit__(*error)

  def _checked(self, item: SessionMessage | Exception) -> SessionMessage | Exception:
    message = item.message if isinstance(item, SessionMessage) else None
    listed = message.result.get("tools") if isinstance(message, JSONRPCResponse) else None
    if isinstance(listed, list):
      shown = [_readable(self._server, self._secrets, tool) for tool in listed]
      message.result["tools"] = [tool for tool in shown if tool]
    return item


def _readable(server: str, secrets: Sequence[str], tool: Any) -> dict[str, Any] | None:
  """What is known of a tool, or None for an odd one."""
  try:
    tool = credentials.cut_out_of_json(tool, secrets)
    problem = _problem(tool)
  except RecursionError:
    problem = "is nested too deeply"
  if problem:
    name = tool.get("name") if isinstance(tool, Mapping) else tool
    warn_once(_LOG, f"a tool of the MCP server {server!r} is left out: {repr(name)[:_SHOWN_CHARS]} {problem}")
    return None
  known = {key: tool[key] for key in ("title", "description") if isinstance(tool.get(key), str)}
  # The arguments of a call are an object whatever the schema says: the protocol asks that it says so.
  return {"name": tool["name"], **known, "inputSchema": {**tool["inputSchema"], "type": "object"}}


def _problem(tool: Any) -> str:
  if not isinstance(tool, Mapping):
    return "is no description of a tool"
  if not isinstance(tool.get("name"), str) or not _NAME.fullmatch(tool["name"]):
    return "is not a name of at most 128 letters, digits, '_', '-', '.' and '/'"
  schema = tool.get("inputSchema")
  if not isinstance(schema, Mapping) or not isinstance(schema.get("properties", {}), Mapping):
    return "has no schema of named arguments"
  if odd := [name for name, value in schema.get("properties", {}).items() if not isinstance(value, Mapping | bool)]:
    return f"has no schema of the argument {odd[0]!r}"[:_SHOWN_CHARS]
  required = schema.get("required", [])
  if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
    return "has a schema whose 'required' is no list of names"
  chars = len(json.dumps([tool.get("description"), schema]))
  return f"takes {chars} characters to describe; at most {_SPEC_CHARS} are shown" if chars > _SPEC_CHARS else ""
