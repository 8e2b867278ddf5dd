"""Arguments and results of tools that would count as successes, end a process, or tell about this machine."""

import asyncio
import contextlib
import shutil
import time

import pytest

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import ToolError, ToolLimits, ToolRunner, Toolset, ToolTimeout, tools_of
from agentrl.envs.tools.archive import Archive, ArchiveTool, Mail
from agentrl.envs.tools.calculator import Calculator
from agentrl.envs.tools.corpus import Corpus, Document
from agentrl.envs.tools.files import FileTool
from agentrl.envs.tools.lookup import KeyTable
from agentrl.envs.tools.python import PythonSession, PythonTool
from agentrl.envs.tools.search import SearchTool
from agentrl.types import EnvironmentFailed, Task, ToolCall, ToolFailure

TASK = Task("t", "test", "?", data={"files": {"a.txt": "abc"}, "table": {"k": "v"}})
MAIL = Mail("m1", 1, "2001-03-05 09:12", "Ann", ("Bob",), "Hello", "text")


class NoPool:
  """Stands for a sandbox that no call reaches."""

  def run(self, code):
    raise AssertionError(f"{code!r} was run")

  session = run


TOOLSETS = {
  "calculator": Calculator,
  "files": FileTool,
  "search": lambda: SearchTool(Corpus([Document("1", "Apple", "A fruit.")])),
  "archive": lambda: ArchiveTool(lambda task: Archive([MAIL])),
  "python": lambda: PythonTool(NoPool()),
  "python_session": lambda: PythonSession(NoPool()),
  "lookup": KeyTable,
}
HALVES = [
  ("calculator", ToolCall("calculate", {"expression": "1+\ud8001"})),
  ("files", ToolCall("write_file", {"path": "a.txt", "text": "price \udc80"})),
  ("files", ToolCall("append_file", {"path": "a.txt", "text": "\ud83d"})),
  ("files", ToolCall("replace_text", {"path": "a.txt", "old": "a", "new": "\ude00"})),
  ("files", ToolCall("read_file", {"path": "\ud800.txt"})),
  ("search", ToolCall("search", {"query": "apple \ud800"})),
  ("search", ToolCall("read", {"document": "\ud800"})),
  ("archive", ToolCall("search", {"words": "hello", "sender": "\ud800"})),
  ("archive", ToolCall("read", {"mail": "m1", "attachment": "\ud800"})),
  ("lookup", ToolCall("lookup", {"key": "\ud800"})),
  ("python", ToolCall("python", {"code": "print('\ud800')"})),
  ("python_session", ToolCall("python", {"code": "print('\udfff')"})),
]


@pytest.mark.parametrize(("name", "call"), HALVES)
def test_half_of_a_character_reaches_no_tool_and_is_told(name, call):
  toolset = TOOLSETS[name]()
  with contextlib.ExitStack() as stack:
    if isinstance(toolset, Toolset):
      stack.callback(toolset.close)
      toolset.reset(TASK, 0)
    (result,) = ToolRunner(tools_of(toolset), ToolLimits()).run([call]).results
  assert result.failure is ToolFailure.ARGUMENTS
  assert "half of a character" in result.text
  assert "write the whole character" in result.text
  result.text.encode()


def test_a_text_with_half_of_a_character_is_not_stored_as_another(tmp_path):
  tool = FileTool()
  tool.reset(TASK, 0)
  runner = ToolRunner(tools_of(tool), ToolLimits())
  calls = [
    ToolCall("append_file", {"path": "a.txt", "text": "\ud800"}),
    ToolCall("append_file", {"path": "a.txt", "text": "\U0001f600"}),
    ToolCall("read_file", {"path": "a.txt"}),
  ]
  assert runner.run(calls).results[-1].text == "abc\U0001f600"
  tool.close()


def test_a_workspace_that_is_gone_is_the_environments_failure_and_tells_no_path():
  tool = FileTool()
  tool.reset(TASK, 0)
  shutil.rmtree(tool._root)
  with pytest.raises(EnvironmentFailed, match=r"^the scratch folder of the workspace is gone$"):
    ToolRunner(tools_of(tool), ToolLimits()).run([ToolCall("list_files", {})])


class Unrun:
  """Results that have not run, or say nothing: each would have been told as a success."""

  async def waits(self) -> str:
    """Waits."""
    await asyncio.sleep(600)
    return "late"

  def forgets_to_await(self) -> str:
    """Forgets."""
    return self.waits()

  def gives_a_generator(self) -> list:
    """Gives."""
    return (n for n in range(3))

  def gives_an_iterator(self) -> list:
    """Gives."""
    return iter([1, 2])

  def gives_a_function(self) -> str:
    """Gives."""
    return self.waits

  def gives_an_object(self) -> str:
    """Gives."""
    return object()

  def gives_one_inside(self) -> dict:
    """Gives."""
    return {"answer": [lambda: 1]}

  def gives_an_open_file(self) -> str:
    """Gives."""
    return open(__file__)


@pytest.mark.parametrize("name", list(tools_of(Unrun())))
def test_what_never_ran_is_no_success(name):
  (result,) = ToolRunner(tools_of(Unrun()), ToolLimits(call_seconds=0.2)).run([ToolCall(name, {})]).results
  assert result.failure in (ToolFailure.EXCEPTION, ToolFailure.TIMEOUT)
  assert " at 0x" not in result.text


def test_arguments_nested_without_end_reach_no_tool_and_are_told():
  deep = ""
  for _ in range(900):
    deep = [deep]
  (result,) = ToolRunner(tools_of(KeyTable()), ToolLimits()).run([ToolCall("lookup", {"key": deep})]).results
  assert (result.failure, result.text) == (
    ToolFailure.ARGUMENTS,
    "error: the arguments are nested more than 64 levels deep",
  )


class Unreadable(Exception):
  """One whose words break, or take their time."""

  def __init__(self, how):
    super().__init__()
    self.how = how

  def __str__(self):
    return self.how()


class Odd(str):
  """A text that breaks when it is looked at."""

  __slots__ = ()

  def __getitem__(self, key):
    raise RuntimeError("no look at it")

  def __len__(self):
    return -1

  __format__ = __getitem__


class Hostile:
  """Tools whose words do something."""

  def __init__(self, kind, how):
    self._kind, self._how = kind, how

  def fail(self) -> str:
    """Fails."""
    raise self._kind(Unreadable(self._how))

  def say(self) -> str:
    """Says."""
    return Odd("as it is")


def breaks():
  raise RuntimeError("no words")


def interrupts():
  raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [ToolError, ToolTimeout, ToolArgumentError, ValueError])
@pytest.mark.parametrize("how", [breaks, interrupts, lambda: time.sleep(60), lambda: Odd("x")])
def test_whatever_the_words_of_a_tool_s_error_do_is_the_tool_s_failure(kind, how):
  runner = ToolRunner(tools_of(Hostile(kind, how)), ToolLimits(call_seconds=1.0))
  started = time.monotonic()
  result = runner.run([ToolCall("fail", {})]).results[0]
  assert result.failure is not None and type(result.text) is str
  assert time.monotonic() - started < 30.0


def test_a_text_of_a_tool_s_own_class_becomes_plain():
  result = ToolRunner(tools_of(Hostile(ValueError, breaks)), ToolLimits()).run([ToolCall("say", {})]).results[0]
  assert (type(result.text), result.text) == (str, "as it is")
