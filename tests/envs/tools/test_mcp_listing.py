import asyncio
import contextlib

import pytest

pytest.importorskip("mcp", reason="needs agentrl[mcp]")

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification, JSONRPCResponse

from agentrl.envs.tools.mcp_listing import listing_checked

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def read(*items):
  """What is read of a transport on which these items come."""

  @contextlib.asynccontextmanager
  async def transport():
    send, receive = anyio.create_memory_object_stream(len(items))
    async with send:
      for item in items:
        await send.send(item)
    yield receive, None

  async def gather():
    async with listing_checked("raw", ("tok-5f2d8e91c7",), transport()) as (stream, _), stream:
      return [item async for item in stream]

  return asyncio.run(gather())


def listed(*tools):
  (item,) = read(SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": list(tools), "nextCursor": "c"})))
  assert item.message.result["nextCursor"] == "c"
  return item.message.result["tools"]


def test_of_a_tool_goes_on_what_is_shown_of_it_and_its_arguments_are_an_object():
  odd = {"annotations": "x", "outputSchema": {"pattern": "("}, "icons": 3, "title": 5}
  assert listed({"name": "a/b.c-d", "description": "D.", "inputSchema": {"oneOf": []}, **odd}) == [
    {"name": "a/b.c-d", "description": "D.", "inputSchema": {"oneOf": [], "type": "object"}}
  ]


@pytest.mark.parametrize(
  "tool",
  [
    None,
    [],
    {},
    {"name": "a"},
    {"name": 3, "inputSchema": SCHEMA},
    {"name": "", "inputSchema": SCHEMA},
    {"name": "a b", "inputSchema": SCHEMA},
    {"name": "a\n", "inputSchema": SCHEMA},
    {"name": "a" * 129, "inputSchema": SCHEMA},
    {"name": "a", "inputSchema": {"properties": []}},
    {"name": "a", "inputSchema": {"required": "a"}},
    {"name": "a", "inputSchema": {"required": [1]}},
    {"name": "a", "inputSchema": {"properties": {"x": 5}}},
    {"name": "tok-5f2d8e91c7", "inputSchema": SCHEMA},
    {"name": "a", "inputSchema": SCHEMA, "description": "x" * 70_000},
  ],
)
def test_an_odd_tool_is_left_out(tool):
  assert listed(tool, {"name": "b", "inputSchema": SCHEMA}) == [{"name": "b", "inputSchema": SCHEMA}]


def test_anything_else_passes_as_it_is():
  items = [
    SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": "none", "content": []})),
    SessionMessage(JSONRPCNotification(jsonrpc="2.0", method="notifications/x")),
    ValueError("no message"),
  ]
  assert read(*items) == items
