import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentrl.envs.base import ToolEnvironment
from agentrl.envs.sandbox import ISOLATORS, Limits, Sandbox, WarmPool
from agentrl.envs.tool import ToolTimeout, tools_of
from agentrl.envs.tools.python import PythonSession, PythonTool
from agentrl.types import Action, Task, ToolCall, ToolFailure, TurnKind


@pytest.fixture(scope="module", params=tuple(ISOLATORS))
def python(request):
  with WarmPool(Sandbox(isolator=request.param), size=2) as pool:
    yield PythonTool(pool).python


@pytest.fixture(scope="module")
def hasty():
  with WarmPool(Sandbox(Limits(wall_seconds=0.7, output_bytes=1 << 16)), size=1) as pool:
    yield PythonTool(pool, stdout_chars=100).python


@pytest.mark.parametrize(
  ("code", "told"),
  [
    ("6 * 7", "42"),
    ("x = 6\nx * 7", "42"),
    ("print('a')\n'b'", "a\n'b'"),
    ("print('a'); None", "a"),
    ("x = 6", ""),
    ("", ""),
    ("# nothing", ""),
    ("if True:\n  6 * 7", ""),
    ("'é' * 2", "'éé'"),
    ("print('\\ud800')", "\\ud800"),
    ("import sys; sys.exit(3)", "[exit code 3]"),
    ("raise SystemExit('bye')", "bye"),
    ("import os; os.abort()", "[the interpreter was ended by SIGABRT]"),
    ("from dataclasses import dataclass\n@dataclass\nclass A:\n  x: int = 1\nA()", "A(x=1)"),
    ("def f(n): return n and n * f(n - 1) or 1\nf(5)", "120"),
    ("__name__, [name for name in globals() if not name.startswith('__')]", "('__main__', [])"),
  ],
)
def test_told_as_a_notebook_would(python, code, told):
  assert python(code) == told


def test_an_error_shows_the_line_and_nothing_of_ours(python):
  assert python("print('before')\ndef f():\n  return 1 / 0\nf()").splitlines() == [
    "before",
    "Traceback (most recent call last):",
    '  File "code.py", line 4, in <module>',
    "    f()",
    '  File "code.py", line 3, in f',
    "    return 1 / 0",
    *(["           ~~^~~"] if "~" in python("1 / 0") else []),
    "ZeroDivisionError: division by zero",
  ]


def test_a_syntax_error_is_told(python):
  told = python("print('not run')\nx = (")
  assert "SyntaxError" in told
  assert "line 2" in told
  assert "not run" not in told.splitlines()


def test_a_long_traceback_is_cut(python):
  told = python("def f(n):\n  return f(n + 1)\nf(0)").splitlines()
  assert told[0].endswith("lines of error output left out]")
  assert told[-1].startswith("RecursionError")
  assert len(told) <= 9


def test_reading_input_is_an_error_not_a_wait(python):
  assert python("input()").endswith("EOFError: EOF when reading a line")


def test_code_cannot_pass_for_the_sandbox(python):
  code = "import os\nprint('{\"exit-code\": 0}')\nfor fd in range(3, 64):\n  try: os.write(fd, b'{\"exit-code\": 0}')\n"
  assert python(code + "  except OSError: pass\nos._exit(5)").strip() in (
    "[exit code 5]",
    '{"exit-code": 0}\n[exit code 5]',
  )


def test_too_slow_is_a_time_out_with_what_was_printed(hasty):
  with pytest.raises(ToolTimeout, match=r"begun\n\[the code was stopped after \d\.\d s: it took too long\]"):
    hasty("print('begun', flush=True)\nwhile True: pass")


def test_too_much_output_is_cut_and_said(hasty):
  told = hasty("while True: print('x' * 1000)")
  assert told.startswith("x" * 100 + "\n[")
  assert told.endswith("[the code was stopped: it wrote too much output]")
  assert len(told) < 250


def test_an_error_after_much_output_is_still_told(hasty):
  assert hasty("print('x' * 5000)\n1 / 0").endswith("ZeroDivisionError: division by zero")


def test_calls_from_many_threads_do_not_mix(python):
  with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(python, [f"{i} ** 2" for i in range(24)])) == [str(i**2) for i in range(24)]


def test_the_policy_is_offered_code_as_text():
  (tool,) = tools_of(PythonTool()).values()
  assert (tool.spec.name, tool.spec.text_parameter) == ("python", "code")
  assert "fresh interpreter" in tool.spec.description


def test_in_an_environment_a_time_out_is_the_tools_failure():
  with WarmPool(Sandbox(Limits(wall_seconds=0.5)), size=0) as pool:
    environment = ToolEnvironment(PythonTool(pool), check=lambda task, answer: True)
    environment.reset(Task("t", "test", "?"), seed=0)
    observation = environment.step(Action(TurnKind.TOOL_CALL, "", [ToolCall("python", {"code": "while True: pass"})]))
  assert [result.failure for result in observation.results] == [ToolFailure.TIMEOUT]
  assert "it took too long" in observation.text


@pytest.mark.parametrize("tool", [PythonTool, PythonSession])
def test_stdout_chars_is_checked(tool):
  with pytest.raises(ValueError, match="stdout_chars must be positive, got 0"):
    tool(stdout_chars=0)


def test_frames_of_the_library_are_left_out(python):
  assert python("import json\njson.loads('{')").splitlines()[:3] == [
    "Traceback (most recent call last):",
    '  File "code.py", line 2, in <module>',
    "    json.loads('{')",
  ]
  assert "decoder" not in python("import json\njson.loads('{')").replace("json.decoder.JSONDecodeError", "")


def test_the_error_behind_an_error_is_told(python):
  told = python("try:\n  1 / 0\nexcept ZeroDivisionError:\n  raise ValueError('second')")
  assert "ZeroDivisionError: division by zero" in told
  assert told.endswith("ValueError: second")


def test_a_huge_value_is_cut(python):
  told = python("list(range(10**6))")
  assert told.startswith("[0, 1, 2,")
  assert "characters of output left out]" in told
  assert len(told) < 1700


# ---- sessions -------------------------------------------------------------------------------------------------------

TASK = Task("t", "test", "?")


@pytest.fixture(scope="module")
def hasty_pool():
  with WarmPool(Sandbox(Limits(wall_seconds=0.7, output_bytes=1 << 16)), size=2) as pool:
    yield pool


@pytest.fixture
def session(hasty_pool):
  toolset = PythonSession(hasty_pool)
  toolset.reset(TASK, 0)
  yield toolset
  toolset.close()


def test_a_session_keeps_what_a_call_left(session):
  assert session.python("x = 41\ndef f(): return x + 1") == ""
  assert session.python("f()") == "42"
  assert session.python("raise ValueError(x)").endswith("ValueError: 41")
  assert session.python("x += 1; x") == "42"


def test_a_session_that_runs_out_of_time_is_told_what_that_costs(session):
  session.python("x = 1")
  with pytest.raises(
    ToolTimeout, match=r"begun\n\[the code was stopped .*: it took too long\]\n\[.* variables .* gone"
  ):
    session.python("print('begun')\nwhile True: pass")
  assert session.python("x").endswith("NameError: name 'x' is not defined")


@pytest.mark.parametrize(
  ("code", "told"),
  [
    (
      "import sys; sys.exit(3)",
      "[exit code 3]\n[the code ended the interpreter: its variables and files are gone, and",
    ),
    ("import os; os.abort()", "[the interpreter was ended by SIGABRT]\n[the interpreter was ended: its variables"),
    (
      "while True: print('x' * 9999)",
      "[the code was stopped: it wrote too much output]\n[the interpreter was ended: its",
    ),
  ],
)
def test_a_session_that_ends_is_told(session, code, told):
  session.python("x = 1")
  assert told in session.python(code)
  assert "NameError" in session.python("x")


def test_a_session_that_ended_between_calls_is_told_and_the_code_is_not_run(session):
  session.python("import os, threading\nthreading.Timer(0.05, os._exit, (0,)).start()")
  while session._session._guest.is_alive():
    pass
  assert session.python("print('run')").startswith("[the interpreter had ended since the last call")
  assert session.python("print('run')") == "run"


def test_each_episode_has_a_session_of_its_own(hasty_pool):
  toolsets = [PythonSession(hasty_pool) for _ in range(2)]
  for number, toolset in enumerate(toolsets):
    toolset.reset(TASK, 0)
    toolset.python(f"x = {number}")
  assert [toolset.python("x") for toolset in toolsets] == ["0", "1"]
  pid = toolsets[0]._session._guest._process.pid
  toolsets[0].reset(TASK, 0)
  assert not os.path.exists(f"/proc/{pid}")
  assert "NameError" in toolsets[0].python("x")
  for toolset in toolsets:
    toolset.close()
    toolset.close()


def test_a_session_in_an_environment_lives_as_long_as_the_episode(hasty_pool):
  def call(code):
    (result,) = environment.step(Action(TurnKind.TOOL_CALL, "", [ToolCall("python", {"code": code})])).results
    return result.text, result.failure

  environment = ToolEnvironment(PythonSession(hasty_pool), check=lambda task, answer: True)
  assert [spec.name for spec in environment.tools] == ["python"]
  assert "kept between calls" in environment.tools[0].description
  environment.reset(TASK, seed=0)
  assert call("x = 6") == ("[no output]", None)
  assert call("x * 7") == ("42", None)
  assert call("while True: pass")[1] is ToolFailure.TIMEOUT
  environment.reset(TASK, seed=0)
  assert "NameError" in call("x")[0]
  environment.close()
