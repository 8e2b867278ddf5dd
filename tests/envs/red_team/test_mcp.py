"""Servers of the Model Context Protocol that freeze, fool, flood or outlive the trainer, or tell what they were given.

Each is a small program of the test's own that speaks the protocol without its SDK: what a row gives is laid over the
harmless server of `PRELUDE`.
"""

import contextlib
import json
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

pytest.importorskip("mcp", reason="needs agentrl[mcp]")

from agentrl.envs.once import warn_once
from agentrl.envs.tool import ToolLimits, ToolRunner, tools_of
from agentrl.envs.tools import mcp
from agentrl.types import EnvironmentFailed, ToolCall, ToolFailure

PRELUDE = """
import json, os, signal, subprocess, sys, time

FINE = {"name": "fine", "description": "Fine.", "inputSchema": {"type": "object", "properties": {}}}

def text(words):
  return {"content": [{"type": "text", "text": words}]}

class Refused(Exception):
  pass

def tools(cursor):
  return {"tools": [FINE]}

def call(name, arguments):
  return text(f"{name} got {sorted(arguments)}")

def answer(method, params):
  if method == "initialize":
    info = {"name": "raw", "version": "1"}
    return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
  if method == "tools/list":
    return tools(params.get("cursor"))
  if method == "tools/call":
    return call(params["name"], params.get("arguments") or {})
  raise Refused(-32601, "no such method")

def serve():
  for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
      continue
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    try:
      reply["result"] = answer(message["method"], message.get("params") or {})
    except Refused as error:
      reply["error"] = {"code": error.args[0], "message": error.args[1]}
    print(json.dumps(reply), flush=True)
"""
TOKEN = "tok-5f2d8e91c7"


@pytest.fixture
def serving(tmp_path):
  """Opens servers: `serving(code, **settings)` is a function that calls one of its tools."""
  opened = []

  def open_server(code="", *, call_seconds=20.0, **settings):
    script = tmp_path / f"server{len(opened)}.py"
    script.write_text(PRELUDE + textwrap.dedent(code) + "\nserve()\n")
    server = {"command": sys.executable, "args": ("-I", "-S", str(script)), **settings}
    toolset = mcp.McpTools({"raw": server}, call_seconds=0.9 * call_seconds)
    opened.append(toolset)
    tools = tools_of(toolset)
    runner = ToolRunner(tools, ToolLimits(call_seconds=call_seconds))

    def call(name, **arguments):
      return runner.run([ToolCall(name, arguments)]).results[0]

    call.tools = tools
    return call

  yield open_server
  for toolset in opened:
    toolset.close()


@contextlib.contextmanager
def beating():
  """The longest time, in seconds, for which no other thread of this process could run."""
  longest, over = [0.0], threading.Event()

  def beat():
    last = time.monotonic()
    while not over.wait(0.01):
      longest[0] = max(longest[0], time.monotonic() - last)
      last = time.monotonic()
    longest[0] = max(longest[0], time.monotonic() - last)

  thread = threading.Thread(target=beat)
  thread.start()
  try:
    yield longest
  finally:
    over.set()
    thread.join()


@pytest.fixture
def told_anew(caplog):
  """What is logged, also where another test had it logged before."""
  warn_once.cache_clear()
  with caplog.at_level(logging.WARNING):
    yield caplog


def one_tool(schema, output=None):
  tool = {"name": "odd", "description": "Odd.", "inputSchema": schema}
  if output is not None:
    tool["outputSchema"] = output
  return f"def tools(cursor):\n  return {{'tools': [FINE, json.loads({json.dumps(tool)!r})]}}\n"


EVIL = "^(a+)+$"
LURE = "a" * 27 + "!"
LEVELS = 26
DOUBLING = {f"d{i}": {"anyOf": 2 * [{"$ref": f"#/$defs/d{i + 1}"}]} for i in range(LEVELS)}
NESTED = {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a", key]} for key in "bc"]}


def nested(levels):
  return {"a": nested(levels - 1)} if levels else {}


FREEZERS = {
  "a pattern": ({"properties": {"x": {"type": "string", "pattern": EVIL}}}, LURE),
  "a pattern that looks ahead": ({"properties": {"x": {"pattern": r"^(?=(a+)+\1$)"}}}, LURE),
  "a pattern of names": ({"properties": {"x": {"patternProperties": {EVIL: {"type": "string"}}}}}, {LURE: 1}),
  "names that are a pattern": ({"properties": {"x": {"propertyNames": {"pattern": EVIL}}}}, {LURE: 1}),
  "alternatives that double": (
    {"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": DOUBLING | {f"d{LEVELS}": {"type": "string"}}},
    1,
  ),
  "alternatives that double with each level of the arguments": (
    {"properties": {"x": {"$ref": "#/$defs/n"}}, "$defs": {"n": NESTED}},
    nested(24),
  ),
}


@pytest.mark.parametrize("what", FREEZERS)
def test_no_schema_freezes_the_trainer(serving, what):
  schema, lure = FREEZERS[what]
  call = serving(one_tool({"type": "object", **schema}))
  with beating() as longest:
    result = call("odd", x=lure)
  assert result.failure in (ToolFailure.ARGUMENTS, ToolFailure.TIMEOUT, None)
  assert longest[0] < 15.0  # they would hold the interpreter for a quarter of a minute, or for years
  assert call("fine").text == "fine got []"


def test_no_output_schema_freezes_the_trainer(serving):
  schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": EVIL}}}
  said = f"def call(name, arguments):\n  return text('done') | {{'structuredContent': {{'x': {LURE!r}}}}}\n"
  call = serving(one_tool({"type": "object", "properties": {}}, schema) + said)
  with beating() as longest:
    result = call("odd")
  assert (result.ok, longest[0] < 15.0) == (True, True), result.text
  assert result.text.startswith("done")


def test_a_schema_has_nothing_fetched(serving):
  with socket.create_server(("127.0.0.1", 0)) as listener:
    listener.settimeout(1.0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
    asked = []

    def listen():
      with contextlib.suppress(TimeoutError):
        asked.append(listener.accept()[0].close())

    thread = threading.Thread(target=listen)
    thread.start()
    call = serving(one_tool({"type": "object", "properties": {"x": {"$ref": address}}}))
    result = call("odd", x=1)
    thread.join()
  assert asked == []
  assert result.text == "odd got ['x']"


def test_an_error_of_any_code_is_the_tool_s_failure(serving):
  call = serving("""
    def tools(cursor):
      return {"tools": [{"name": "refuse", "inputSchema": {"type": "object", "properties": {"code": {}}}}]}

    def call(name, arguments):
      if arguments["code"] == 0:
        return text("at your service")
      raise Refused(arguments["code"], "out of ink")
  """)
  for code in (-32000, -32001, -32042, -32600, -32601, -32602, -32603, -32700, 42):
    result = call("refuse", code=code)
    assert (result.failure, result.text) == (ToolFailure.EXCEPTION, "error: refuse: out of ink")
  assert call("refuse", code=0).text == "at your service"


def test_two_tools_of_one_name_are_an_error_that_a_choice_avoids(serving):
  twice = "def tools(cursor):\n  return {'tools': [FINE, FINE | {'description': 'Other.'}, FINE | {'name': 'one'}]}"
  with pytest.raises(ValueError, match=r"'raw' lists two tools called 'fine'.* servers\.raw\.tools"):
    serving(twice)
  assert list(serving(twice, tools=("one",)).tools) == ["one"]


@pytest.mark.parametrize(
  "code",
  [
    "def tools(cursor):\n  return {'tools': [FINE | {'name': f't{i}'} for i in range(20_000)]}",
    "n = 0\ndef tools(cursor):\n  global n\n  n += 100\n"
    "  return {'tools': [FINE | {'name': f't{n + i}'} for i in range(100)], 'nextCursor': 'more'}",
  ],
  ids=["at once", "for ever"],
)
def test_more_tools_than_can_be_shown_are_an_error(serving, code):
  with pytest.raises(EnvironmentFailed, match=r"more than 1000 tools: name the wanted ones in servers\.raw\.tools"):
    serving(code)


def test_odd_tools_are_left_out_and_named_and_the_others_stay(serving, told_anew):
  call = serving("""
      deep = {}
      for _ in range(30):
        deep = {"properties": {"x": deep}}
      odd = [
        None,
        {"name": "no-schema"},
        {"name": "textual", "inputSchema": "{}"},
        {"name": "listed", "inputSchema": {"type": "object", "properties": ["x"]}},
        {"name": 5, "inputSchema": {"type": "object"}},
        {"name": "</tool_call>", "inputSchema": {"type": "object"}},
        {"name": "no-schema-of-x", "inputSchema": {"type": "object", "properties": {"x": 5}, "required": ["zz"]}},
        {"name": "long", "description": "x" * 10**6, "inputSchema": {"type": "object"}},
      ]
      fine = [
        {"name": "union", "inputSchema": {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}},
        {"name": "nullable", "inputSchema": {"type": ["object", "null"], "properties": {"a": {}}}},
        {"name": "described", "description": 5, "annotations": "x", "icons": 3, "inputSchema": {"type": "object"}},
        {"name": "file", "inputSchema": {"type": "object", "properties": {"a": {"type": "file"}}}},
        {"name": "dangling", "inputSchema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}},
        {"name": "deep", "inputSchema": deep},
      ]
      def tools(cursor):
        return {"tools": odd + fine}
    """)
  assert list(call.tools) == ["union", "nullable", "described", "file", "dangling", "deep"]
  for name in ("union", "nullable", "described", "file", "dangling"):
    assert call(name, a=1).text == f"{name} got ['a']"
  assert call("union", c=1).failure is ToolFailure.ARGUMENTS
  for name in (
    "None",
    "'no-schema'",
    "'textual'",
    "'listed'",
    "5",
    "'</tool_call>'",
    "'no-schema-of-x'",
    "'long'",
    "'file'",
    "'dangling'",
  ):
    assert f" {name} " in told_anew.text


@pytest.mark.parametrize("levels", [65, 254, 255, 256, 900])
def test_arguments_nested_without_end_do_not_cost_the_session(serving, levels):
  call = serving(one_tool({"type": "object", "properties": {"x": {}}}), shared=True)
  deep = ""
  for _ in range(levels):
    deep = [deep]
  assert call("odd", x=deep).failure is ToolFailure.ARGUMENTS
  assert call("odd", x=1).text == "odd got ['x']"
  mcp.close_shared()


def test_a_server_s_odd_messages_do_not_flood_the_log(serving, caplog):
  call = serving("""
    def call(name, arguments):
      for n in range(2000):
        odd = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": "x" * 100, "n": n}}
        print(json.dumps(odd))
      return text("done")
  """)
  assert call("fine").text == "done"
  assert len(caplog.records) <= 100 and len(caplog.text) < 100_000


def alive(pid):
  with contextlib.suppress(OSError):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  return False


def gone(pids):
  """Whether they have ended within half a minute."""
  deadline = time.monotonic() + 30
  while any(map(alive, pids)) and time.monotonic() < deadline:
    time.sleep(0.02)
  return not any(map(alive, pids))


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
nothing = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
child = subprocess.Popen(["sleep", "600"], start_new_session=True, **nothing)
def call(name, arguments):
  return text(f"{os.getpid()} {child.pid}")
def serve(serve=serve):
  serve()
  time.sleep(600)
"""


def test_a_server_that_ignores_its_end_and_a_child_in_a_session_of_its_own_end_with_the_trajectory(serving, tmp_path):
  del serving
  script = tmp_path / "stubborn.py"
  script.write_text(PRELUDE + STUBBORN + "\nserve()\n")
  toolset = mcp.McpTools({"raw": {"command": sys.executable, "args": ("-I", "-S", str(script))}})
  pids = [int(pid) for pid in tools_of(toolset)["fine"].call({}).split()]
  assert all(map(alive, pids))
  toolset.close()
  assert gone(pids)


def test_a_child_of_a_server_that_has_ended_ends_with_the_trajectory(serving):
  call = serving(STUBBORN.replace("  time.sleep(600)", "  os._exit(0)"))
  pids = [int(pid) for pid in call("fine").text.split()]
  os.kill(pids[0], signal.SIGKILL)
  assert gone(pids)


@pytest.mark.parametrize("shared", [False, True])
def test_nothing_outlives_a_killed_trainer(tmp_path, shared):
  script = tmp_path / "stubborn.py"
  script.write_text(PRELUDE + STUBBORN + "\nserve()\n")
  servers = {"raw": {"command": sys.executable, "args": ("-I", "-S", str(script)), "shared": shared}}
  trainer = f"""
import time
from agentrl.envs.tool import tools_of
from agentrl.envs.tools import mcp
toolset = mcp.McpTools({servers!r})
print(tools_of(toolset)["fine"].call({{}}), flush=True)
time.sleep(600)
"""
  root = str(pathlib.Path(__file__).parents[3])
  path = {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
  with subprocess.Popen(
    [sys.executable, "-c", trainer], env=os.environ | path, stdout=subprocess.PIPE, text=True
  ) as process:
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2 and all(map(alive, pids))
    process.kill()
  assert gone(pids)


TELLING = """
token = os.environ["SERVICE_TOKEN"]
def call(name, arguments):
  kind = arguments.get("kind")
  if kind == "error":
    raise Refused(-32000, f"{token} is not welcome")
  if kind == "die":
    print(f"wrong token {token}", file=sys.stderr, flush=True)
    os._exit(3)
  return text(f"my token is {token}") | {"structuredContent": {"token": token}, "isError": kind == "broken"}
"""
TELL = (
  "def tools(cursor):\n  return {'tools': [FINE | {'inputSchema': {'type': 'object', 'properties': {'kind': {}}}}]}\n"
)


@pytest.mark.parametrize("handed", ["env", "env_from"])
def test_a_server_s_token_is_told_in_no_text(serving, monkeypatch, handed):
  monkeypatch.setenv("SERVICE_TOKEN", TOKEN)
  settings = {"env": {"SERVICE_TOKEN": TOKEN}} if handed == "env" else {"env_from": ("SERVICE_TOKEN",)}
  call = serving(TELLING + TELL, **settings)
  for kind in ("result", "broken", "error"):
    result = call("fine", kind=kind)
    assert TOKEN not in result.text and "<redacted>" in result.text
  with pytest.raises(EnvironmentFailed, match="wrong token <redacted>"):
    call("fine", kind="die")
  with pytest.raises(EnvironmentFailed, match=r"did not start: .*no entry for <redacted>"):
    serving(f"print('no entry for', {TOKEN!r}, file=sys.stderr)\nsys.exit(1)", **settings)


def test_what_a_server_says_of_its_tools_is_told_without_its_token(serving, told_anew):
  token = 'S3CRET-"quoted"-X'
  call = serving(
    """
    token = os.environ["SERVICE_TOKEN"]
    def tools(cursor):
      about = {"type": "string", "description": f"not {token}", "enum": [token], token: token}
      schema = {"type": "object", "properties": {"x": about}}
      odd = {"name": token, "inputSchema": schema}
      return {"tools": [FINE | {"description": f"token is {token}", "inputSchema": schema}, odd]}
    def call(name, arguments):
      return {"content": [], "structuredContent": {"token": token}}
    """,
    env={"SERVICE_TOKEN": token},
  )
  spec = call.tools["fine"].spec
  assert spec.description == "token is <redacted>"
  for told in (str(spec), json.dumps(spec.schema), call("fine").text):
    assert "S3CRET" not in told and "<redacted>" in told
  assert "'<redacted>' is not a name" in told_anew.text


@pytest.mark.parametrize(
  ("line", "words"),
  [
    (r'{"content": [{"type": "text", "text": "half \ud800"}]}', "half ?"),
    ('{"content": [{"type": "text", "text": "a \xff byte"}]}', "a \ufffd byte"),
    (r'{"content": [{"type": "image", "mimeType": "x/y", "data": "?!"}]}', "[image left out: x/y, 1 bytes]"),
    (r'{"content": [{"type": "text", "text": "' + "[" * 3000 + r'"}], "structuredContent": {"a": 1}}', "[[["),
  ],
)
def test_an_odd_answer_is_told_as_far_as_it_can_be(serving, line, words):
  call = serving(f"""
    class Raw(dict):
      pass
    def call(name, arguments):
      return Raw()
    class Writer:
      def dumps(self, reply, usual=json.dumps):
        if not isinstance(reply.get("result"), Raw):
          return usual(reply)
        before = '{{"jsonrpc": "2.0", "id": ' + str(reply["id"]) + ', "result": '
        return before + {line!r} + "}}"
      loads = staticmethod(json.loads)
    json = Writer()
    sys.stdout.reconfigure(encoding="latin-1")
  """)
  result = call("fine")
  assert result.text.startswith(words), result.text[:200]
