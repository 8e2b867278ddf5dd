from concurrent.futures import ThreadPoolExecutor

import pytest

from agentrl.envs.base import ToolEnvironment
from agentrl.envs.sandbox import ISOLATORS, Limits, Sandbox, WarmPool
from agentrl.envs.tool import ToolTimeout, tools_of
from agentrl.envs.tools.python import PythonTool
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


def test_stdout_chars_is_checked():
  with pytest.raises(ValueError, match="stdout_chars must be positive, got 0"):
    PythonTool(stdout_chars=0)
