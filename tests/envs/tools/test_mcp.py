"""Tools of MCP servers, over stdio and HTTP, from a server of the test's own."""

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest

pytest.importorskip("mcp", reason="needs agentrl[mcp]")

from mcp.types import (
  BlobResourceContents,
  CallToolResult,
  EmbeddedResource,
  ImageContent,
  ResourceLink,
  TextContent,
  TextResourceContents,
)

from agentrl import envs
from agentrl.envs.base import Setting, ToolEnvironment
from agentrl.envs.tool import ToolLimits, tools_of
from agentrl.envs.tools import mcp
from agentrl.training import config as config_lib
from agentrl.training import config_values
from agentrl.training.build.experiment import build_experiment
from agentrl.types import Action, EnvironmentFailed, Task, ToolCall, ToolFailure, TurnKind
from experiments import train

SERVER = """
  import os, subprocess, sys, time
  from mcp.server.mcpserver import MCPServer
  from mcp.server.mcpserver.exceptions import ToolError

  server = MCPServer("test")
  notes = []

  @server.tool()
  def calculate(expression: str) -> str:
    '''Works out
    an expression.'''
    return str(eval(expression, {}))

  @server.tool()
  def add(a: int, b: int) -> int:
    '''Adds.'''
    return a + b

  @server.tool()
  def note(text: str) -> list[str]:
    '''Writes a note down; tells all notes.'''
    notes.append(text)
    return notes

  @server.tool()
  def fail() -> str:
    '''Fails.'''
    raise ToolError("no such file: " + "x" * 400)

  @server.tool()
  def sleep(seconds: float) -> str:
    '''Sleeps.'''
    time.sleep(seconds)
    return "awake"

  @server.tool()
  def die() -> str:
    '''Dies.'''
    print("out of cheese", file=sys.stderr, flush=True)
    os._exit(3)

  @server.tool()
  def child() -> int:
    '''Starts a child that outlives the server unless its group is killed.'''
    return subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL).pid

  @server.tool()
  def pid() -> int:
    '''Its process.'''
    return os.getpid()

  if len(sys.argv) > 1:
    server.run("streamable-http", port=int(sys.argv[1]))
  else:
    server.run("stdio")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
  path = tmp_path_factory.mktemp("mcp") / "server.py"
  path.write_text(textwrap.dedent(SERVER))
  return str(path)


@pytest.fixture
def stdio(script):
  return {"command": sys.executable, "args": (script,)}


@contextlib.contextmanager
def serving(script):
  """A server over HTTP in a process of its own: its settings, and the process."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  process = subprocess.Popen([sys.executable, script, str(port)], stderr=subprocess.DEVNULL)
  try:
    for _ in range(600):
      with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        break
      time.sleep(0.1)
    yield {"url": f"http://127.0.0.1:{port}/mcp"}, process
  finally:
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def nothing_shared():
  yield
  mcp.close_shared()


@contextlib.contextmanager
def opened(servers, **limits):
  limits = ToolLimits(**({"call_seconds": 60.0} | limits))
  toolset = mcp.McpTools(servers, call_seconds=0.8 * limits.call_seconds)
  environment = ToolEnvironment(
    toolset, check=lambda task, answer: answer == task.answer, setting=Setting(limits=limits)
  )
  with contextlib.closing(environment):
    environment.reset(Task("t", "f", "?", "3"), 0)
    yield environment


def call(environment, name, **arguments):
  (result,) = environment.step(Action(TurnKind.TOOL_CALL, "", calls=(ToolCall(name, arguments),))).results
  return result


def gone(pid):
  """Whether a process ends within a minute; one that nobody has waited for counts as ended."""
  for _ in range(600):
    try:
      with open(f"/proc/{pid}/stat") as file:
        if file.read().rsplit(")", 1)[1].split()[0] == "Z":
          return True
    except OSError:
      return True
    time.sleep(0.1)
  return False


def test_tools_of_a_stdio_server_are_called_until_the_answer(stdio):
  with opened({"test": stdio}) as environment:
    names = [spec.name for spec in environment.tools]
    assert names == ["calculate", "add", "note", "fail", "sleep", "die", "child", "pid"]
    assert environment.tools[0].description == "Works out an expression."
    assert environment.tools[0].text_parameter == "expression"
    assert call(environment, "add", a=1, b=2).text == "3"
    assert call(environment, "note", text="é").text == "é"
    wrong = call(environment, "add", a=1, b="two")
    assert (wrong.failure, wrong.text) == (
      ToolFailure.ARGUMENTS,
      'error: argument \'b\': "two" is not of type "integer"',
    )
    assert call(environment, "add", a=1, c=2).text == "error: unexpected argument 'c'; expected: a, b"
    answer = environment.step(Action(TurnKind.ANSWER, "", answer="3"))
    assert (answer.done, answer.parts) == (True, {"correct": 1.0})


def test_a_broken_tool_is_told_in_its_own_words(stdio):
  with opened({"test": stdio}) as environment:
    result = call(environment, "fail")
    assert result.failure is ToolFailure.EXCEPTION
    assert result.text.startswith("error: fail: ") and result.text.endswith("no such file: " + "x" * 400)


def test_a_slow_tool_is_a_time_out_and_the_server_serves_on(stdio):
  with opened({"test": stdio}, call_seconds=5.0) as environment:
    result = call(environment, "sleep", seconds=600)
    assert (result.failure, result.text) == (ToolFailure.TIMEOUT, "error: sleep: no answer within 4 s")
    assert call(environment, "sleep", seconds=0.1).text == "awake"


def test_a_dead_server_is_the_environment_s_failure(stdio):
  with opened({"test": stdio}) as environment:
    with pytest.raises(EnvironmentFailed, match=r"'test' was lost in a call of die: .*exit code 3; .*out of cheese"):
      call(environment, "die")
    with pytest.raises(EnvironmentFailed, match="MCP server 'test'"):
      call(environment, "add", a=1, b=2)


def test_a_server_over_http_and_its_death(script):
  with serving(script) as (settings, process), opened({"test": {**settings, "tools": ("add", "fail")}}) as environment:
    assert [spec.name for spec in environment.tools] == ["add", "fail"]
    assert call(environment, "add", a=20, b=22).text == "42"
    assert call(environment, "fail").failure is ToolFailure.EXCEPTION
    process.kill()
    process.wait()
    for _ in range(2):
      with pytest.raises(EnvironmentFailed, match="MCP server 'test'"):
        call(environment, "add", a=1, b=2)


def test_closing_ends_the_server_and_its_children(stdio):
  with opened({"test": stdio}) as environment:
    pids = [int(call(environment, name).text) for name in ("pid", "child")]
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
  assert all(gone(pid) for pid in pids)


def test_a_server_that_does_not_heed_the_end_of_its_input_is_killed(tmp_path, stdio):
  script = tmp_path / "stubborn.py"
  script.write_text("import subprocess, sys, time\nsubprocess.run([sys.executable, *sys.argv[1:]])\ntime.sleep(600)")
  with opened({"test": {"command": sys.executable, "args": (str(script), *stdio["args"])}}) as environment:
    pid = int(call(environment, "pid").text)
    parent = os.getpgid(pid)
  assert gone(pid) and gone(parent)


def test_every_trajectory_has_its_server_unless_it_is_shared(stdio):
  with opened({"test": stdio}) as one, opened({"test": stdio}) as other:
    call(one, "note", text="a")
    assert call(other, "note", text="b").text == "b"
  shared = {"test": {**stdio, "shared": True}}
  with opened(shared) as one:
    call(one, "note", text="a")
  with opened(shared) as one, opened(shared) as other:
    assert call(one, "note", text="b").text == "a\nb"
    assert call(one, "pid").text == call(other, "pid").text
    pid = int(call(one, "pid").text)
  mcp.close_shared()
  assert gone(pid)


def test_a_lost_shared_server_is_replaced(stdio):
  shared = {"test": {**stdio, "shared": True}}
  with opened(shared) as environment, pytest.raises(EnvironmentFailed):
    call(environment, "die")
  with opened(shared) as environment:
    assert call(environment, "add", a=1, b=2).text == "3"


def test_names_that_two_servers_use_get_the_server_s_in_front(stdio):
  with opened({"one": {**stdio, "tools": ("add", "note")}, "two": {**stdio, "tools": ("note",)}}) as environment:
    assert [spec.name for spec in environment.tools] == ["add", "one_note", "two_note"]
    assert call(environment, "one_note", text="a").text == "a"
    assert call(environment, "two_note", text="b").text == "b"


@pytest.mark.parametrize(
  ("servers", "words"),
  [
    ({}, "needs tool_options.servers"),
    ({"a": {"comand": "x"}}, r"servers\.a: no setting of an MCP server is called 'comand': did you mean 'command'"),
    ({"a": {}}, r"servers\.a: an MCP server has a command or a url, one of them"),
    ({"a": {"command": "x", "url": "y"}}, "one of them; got 'x' and 'y'"),
    ({"a": {"command": "x", "args": "y z"}}, "args is a list of strings, not 'y z'"),
    ({"a": {"command": "x", "env": {"A": 1}}}, "the values in env are strings"),
    ({"a": {"command": "x", "env_from": ["NO_SUCH_TOKEN"]}}, r"servers\.a: env_from names 'NO_SUCH_TOKEN'.* not set"),
    ({"a": {"url": "x", "headers": {"A": "Bearer ${NO_SUCH_TOKEN}"}}}, "environment variable 'NO_SUCH_TOKEN'"),
    ({"a": {"command": "x", "env": {"A": "<redacted>"}}}, r"env\.A was left out when .* by the name of a variable"),
    ({"a": {"command": "x", "start_seconds": 0}}, "start_seconds must be positive"),
  ],
)
def test_wrong_settings_are_errors(servers, words):
  with pytest.raises(ValueError, match=words):
    mcp.McpTools(servers)


def test_a_tool_that_a_server_lacks_is_an_error_that_leaves_nothing_running(stdio):
  with pytest.raises(ValueError, match=r"servers\.test\.tools: no tool is called 'ad': did you mean 'add'"):
    mcp.McpTools({"test": {**stdio, "tools": ("ad",)}})


@pytest.mark.parametrize(
  ("server", "words"),
  [
    ({"command": "no-such-command"}, "'test' did not start: FileNotFoundError.*no-such-command"),
    ({"command": "python server.py", "cwd": "/no-such-folder"}, "FileNotFoundError.*/no-such-folder"),
    ({"command": "python server.py -v"}, r"arguments go into args: command 'python', args \['server.py', '-v'\]"),
    ({"command": sys.executable, "args": ("-c", "raise SystemExit('no key')")}, "did not start: .*exit code 1.*no key"),
    ({"command": "sleep", "args": ("600",), "start_seconds": 0.5}, "did not start: no tools within 0.5 s"),
    ({"url": "http://127.0.0.1:9/mcp"}, "'test' did not start"),
  ],
)
def test_a_server_that_does_not_start_is_the_environment_s_failure(server, words):
  with pytest.raises(EnvironmentFailed, match=words):
    mcp.McpTools({"test": server})


def test_what_is_no_text_is_named_and_left_out():
  content = [
    TextContent(text="before"),
    ImageContent(data="AAAA", mime_type="image/png"),
    EmbeddedResource(resource=TextResourceContents(uri="file:///a.txt", text="inside")),
    EmbeddedResource(resource=BlobResourceContents(uri="file:///a.bin", blob="AAAAAAAA")),
    ResourceLink(name="log", uri="file:///log"),
  ]
  assert mcp.to_text(CallToolResult(content=content)).split("\n") == [
    "before",
    "[image left out: image/png, 3 bytes]",
    "inside",
    "[resource file:///a.bin left out: unknown type, 6 bytes]",
    "[resource log: file:///log]",
  ]


@pytest.mark.parametrize(
  ("texts", "structured", "shown"),
  [
    (["3"], {"result": 3}, "3"),
    (["a", "b"], {"result": ["a", "b"]}, "a\nb"),
    (['{"x": 1}'], {"x": 1}, '{"x": 1}'),
    (["True"], {"result": "True"}, "True"),
    ([], {"x": 1}, '{"x": 1}'),
    (["two found"], {"x": 1}, 'two found\n{"x": 1}'),
  ],
)
def test_structured_content_is_shown_where_the_text_does_not_say_it(texts, structured, shown):
  result = CallToolResult(content=[TextContent(text=text) for text in texts], structured_content=structured)
  assert mcp.to_text(result) == shown


def test_a_source_from_strings(stdio):
  options = {"servers": {"test": {**stdio, "tools": ("calculate",), "shared": True}}}
  source = envs.make("arithmetic", "mcp", tool_options=options, oracle_tool="calculator", examples=1, call_seconds=60)
  assert [spec.name for spec in source.tools] == ["calculate"]
  task = source.task(0, "train")
  with contextlib.closing(source.environment()) as environment:
    assert [m.role for m in environment.reset(task, 0)] == ["user", "assistant", "tool", "assistant", "user"]
    *_, last = [environment.step(action) for action in source.oracle(task)]
  assert last.parts == {"correct": 1.0}


def test_wrong_sources_are_errors_when_they_are_made(stdio):
  with pytest.raises(ValueError, match="arithmetic tasks cannot be solved with the tool 'mcp'"):
    envs.make("arithmetic", "mcp", tool_options={"servers": {"test": stdio}})
  with pytest.raises(ValueError, match="'test' did not start"):
    envs.make("arithmetic", "mcp", tool_options={"servers": {"test": {"command": "no-such"}}}, oracle_tool="none")
  with pytest.raises(ValueError, match="no tool is called 'calc'"):
    envs.make("arithmetic", "mcp", tool_options={"servers": {"test": stdio}}, oracle_tool="calc")


def test_a_run_s_config_names_servers(stdio):
  servers = {"test": {"command": stdio["command"], "args": list(stdio["args"]), "tools": ["calculate"], "shared": True}}
  config = config_lib.load(
    "configs/quickstart.py",
    ["--config.task.tool=mcp", "--config.task.oracle_tool=calculator", f"--config.task.tool_options.servers={servers}"],
    smoke=True,
  )
  parts = build_experiment(config_values.from_json(config_values.to_json(config)))
  assert [spec.name for spec in parts.tasks.tools] == ["calculate"]


@pytest.mark.slow
def test_a_run_trains_with_a_server(stdio, tmp_path):
  servers = {"test": {"command": stdio["command"], "args": list(stdio["args"]), "tools": ["calculate"]}}
  settings = {"tool": "mcp", "oracle_tool": "calculator", "tool_options.servers": servers}
  overrides = [f"--config.task.{key}={value}" for key, value in settings.items()]
  command = ["--config", "configs/quickstart.py", "--workdir", str(tmp_path), "--smoke", "--traceback", *overrides]
  assert train.main(command) == 0


@pytest.mark.parametrize("name", ["tools", "reset", "close"])
def test_a_toolset_s_own_methods_are_no_tools(name):
  assert name not in tools_of(mcp.Toolset())
