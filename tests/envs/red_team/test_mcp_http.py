"""Servers of the Model Context Protocol over HTTP that answer with errors, or without end."""

import contextlib
import http.server
import json
import threading

import pytest

pytest.importorskip("mcp", reason="needs agentrl[mcp]")

from agentrl.envs.tool import ToolLimits, ToolRunner, tools_of
from agentrl.envs.tools import mcp
from agentrl.types import EnvironmentFailed, ToolCall, ToolFailure

REFUSE = {"type": "object", "properties": {"code": {}, "status": {}, "gone": {}}}


class Http(http.server.BaseHTTPRequestHandler):
  """The protocol over HTTP; a call is answered with the error, or the status, that it asks for."""

  protocol_version = "HTTP/1.1"

  def do_POST(self):
    asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
    status, answer = (503, {}) if self.server.gone else (202, None) if "id" not in asked else self.answer(asked)
    if (asked.get("params") or {}).get("arguments") == {"code": "flood"}:
      self.flood()
      return
    body = b"" if answer is None else json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), **answer}).encode()
    self.send_response(status)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    self.wfile.write(body)

  def flood(self):
    self.send_response(200)
    self.send_header("Content-Type", "application/json")
    self.send_header("Transfer-Encoding", "chunked")
    self.end_headers()
    self.close_connection = True
    with contextlib.suppress(OSError):
      while self.server.flooded < 1 << 30:
        self.wfile.write(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
        self.server.flooded += 1 << 20

  def answer(self, asked):
    if asked["method"] == "initialize":
      info = {"name": "raw", "version": "1"}
      return 200, {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}}
    if asked["method"] == "tools/list":
      return 200, {"result": {"tools": [{"name": "refuse", "inputSchema": REFUSE}]}}
    if asked["method"] != "tools/call":
      return 200, {"error": {"code": -32601, "message": "no such method"}}
    arguments = asked["params"]["arguments"]
    self.server.gone = arguments.get("gone", False)
    return arguments.get("status", 200), {"error": {"code": arguments["code"], "message": "out of ink"}}

  def do_GET(self):
    self.send_error(405)

  def log_message(self, *_):
    pass


@pytest.fixture
def over_http():
  """A server over HTTP, and a function that calls its tool."""
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http) as server:
    server.gone, server.flooded = False, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    toolset = mcp.McpTools({"raw": {"url": f"http://127.0.0.1:{server.server_port}/mcp"}}, call_seconds=20.0)
    runner = ToolRunner(tools_of(toolset), ToolLimits(call_seconds=25.0))
    yield server, lambda **arguments: runner.run([ToolCall("refuse", arguments)]).results[0]
    toolset.close()
    server.shutdown()


def test_over_http_too_an_error_of_any_code_is_the_tool_s_failure_while_the_server_answers(over_http):
  _, call = over_http
  for code, status in ((-32000, 200), (-32600, 400), (-32001, 404), (42, 200), (-32603, 500)):
    result = call(code=code, status=status)
    assert (result.failure, result.text) == (ToolFailure.EXCEPTION, "error: refuse: out of ink")
  with pytest.raises(EnvironmentFailed, match="'raw' was lost in a call of refuse"):
    call(code=-32000, gone=True)


def test_of_an_answer_without_end_no_more_is_taken_than_an_answer_may_have(over_http):
  server, call = over_http
  with pytest.raises(EnvironmentFailed, match="'raw' was lost in a call of refuse"):
    call(code="flood")
  assert 1 << 26 <= server.flooded < 1 << 28
