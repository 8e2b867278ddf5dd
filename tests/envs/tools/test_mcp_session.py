import sys
import threading

import pytest

pytest.importorskip("mcp", reason="needs agentrl[mcp]")

from agentrl.envs.tool import ToolTimeout
from agentrl.envs.tools.mcp_session import Refused, Session
from agentrl.envs.tools.mcp_settings import Server
from agentrl.types import EnvironmentFailed

SERVER = """
import json, os, sys, time
def answer(method, params):
  if method == "initialize":
    info = {"name": "raw", "version": "1"}
    return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
  if method == "tools/list":
    start = int(params.get("cursor") or 0)
    names = [f"t{n}" for n in range(start, start + 400)]
    more = {"nextCursor": str(start + 400)} if start < int(os.environ.get("LISTED", "0")) else {}
    return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]} | more
  if params["arguments"].get("end"):
    print("out of", os.environ.get("SERVICE_TOKEN"), file=sys.stderr, flush=True)
    os._exit(4)
  if params["arguments"].get("wait"):
    return None
  return {"content": [{"type": "text", "text": params["name"]}]}
for line in sys.stdin:
  asked = json.loads(line)
  if "id" not in asked:
    continue
  params = asked.get("params") or {}
  if asked["method"] not in ("initialize", "tools/list", "tools/call"):
    reply = {"error": {"code": -32601, "message": "no such method"}}
  elif (params.get("arguments") or {}).get("refuse"):
    reply = {"error": {"code": -1, "message": "no ink"}}
  elif (given := answer(asked["method"], params)) is None:
    continue
  else:
    reply = {"result": given}
  print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **reply}), flush=True)
"""


@pytest.fixture
def opened():
  """Opens sessions with the server above, or another."""
  sessions = []

  def open_session(code=SERVER, **settings):
    sessions.append(Session("raw", Server(command=sys.executable, args=("-I", "-S", "-c", code), **settings)))
    return sessions[-1]

  yield open_session
  for session in sessions:
    session.close()


def test_a_session_lists_calls_from_any_thread_and_ends(opened):
  session = opened()
  assert [tool.name for tool in session.tools()][:2] == ["t0", "t1"]
  told = []
  threads = [
    threading.Thread(target=lambda n=n: told.append(session.call(f"t{n}", {}, 20.0).content[0].text)) for n in range(4)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(told) == ["t0", "t1", "t2", "t3"]
  assert session.alive
  session.close()
  assert not session.alive
  with pytest.raises(EnvironmentFailed, match="the connection to the MCP server 'raw' is closed"):
    session.call("t0", {}, 20.0)


def test_a_late_answer_is_the_tool_s_and_the_session_lives_on(opened):
  session = opened()
  session.tools()
  with pytest.raises(ToolTimeout, match=r"no answer within 0\.2 s"):
    session.call("t0", {"wait": True}, 0.2)
  assert session.call("t1", {}, 20.0).content[0].text == "t1"


def test_a_server_that_ends_in_a_call_is_lost_with_its_last_words_but_not_its_token(opened):
  session = opened(env={"SERVICE_TOKEN": "tok-5f2d8e91c7"})
  session.tools()
  with pytest.raises(EnvironmentFailed, match=r"lost in a call of t0: .*code 4; its last words: out of <redacted>"):
    session.call("t0", {"end": True}, 20.0)
  assert not session.alive


def test_more_tools_than_can_be_shown_are_refused_unless_some_are_named(opened):
  with pytest.raises(EnvironmentFailed, match="more than 1000 tools"):
    opened(env={"LISTED": "1200"}).tools()
  session = opened(env={"LISTED": "1200"}, tools=("t1500",))
  assert "t1500" in [tool.name for tool in session.tools()]


def test_a_server_that_lists_nothing_in_time_did_not_start(opened):
  session = opened("import time\ntime.sleep(600)", start_seconds=1.0)
  with pytest.raises(EnvironmentFailed, match="'raw' did not start: no tools within 1 s"):
    session.tools()
  assert not session.alive


def test_an_error_of_the_server_is_a_refusal(opened):
  session = opened()
  session.tools()
  with pytest.raises(Refused, match=r"^no ink$"):
    session.call("t0", {"refuse": True}, 20.0)
  assert session.alive
