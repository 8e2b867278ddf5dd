"""Tools by name: what reaches them of the limits and options of a config."""

import pytest

from agentrl import envs
from agentrl.types import Action, ToolCall, ToolFailure, TurnKind


def test_limits_reach_the_python_guest():
  source = envs.make("arithmetic", "python", call_seconds=3.0, max_output_chars=600)
  task, environment = source.task(0, "train"), source.environment()
  environment.reset(task, 0)
  (call, answer) = source.oracle(task)
  assert environment.step(call).text == task.answer
  loop = Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("python", {"code": "while True: pass"}),))
  (result,) = environment.step(loop).results
  assert result.failure is ToolFailure.TIMEOUT
  assert "stopped after 2.4 s" in result.text  # by the sandbox, not by the deadline of the call
  flood = Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("python", {"code": "print('y' * 1000); 1 / 0"}),))
  assert environment.step(flood).text.endswith("ZeroDivisionError: division by zero")
  assert environment.step(answer).parts == {"correct": 1.0}


def test_a_python_session_keeps_variables_and_solves_what_python_does():
  source = envs.make("arithmetic", "python_session", call_seconds=1.0, examples=1)
  task, environment = source.task(0, "train"), source.environment()
  environment.reset(task, 0)
  assert environment.step(Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("python", {"code": "x = 6"}),))).ok
  assert environment.step(Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("python", {"code": "x * 7"}),))).text == "42"
  (call, answer) = source.oracle(task)
  assert environment.step(call).text == task.answer
  assert environment.step(answer).parts == {"correct": 1.0}
  environment.close()


def test_a_folder_can_be_searched_and_a_wrong_option_names_the_nearest(tmp_path):
  (tmp_path / "moss.txt").write_text("Moss grows on the north side of trees.")
  with pytest.raises(ValueError, match=r"no option of the tool 'search' is called 'corpsu': did you mean 'corpus'\?"):
    envs.make("arithmetic", "search", tool_options={"corpsu": str(tmp_path)}, oracle_tool="calculator")
  with pytest.raises(ValueError, match="no option of the tool 'calculator' is called 'corpus'"):
    envs.make("arithmetic", "calculator", tool_options={"corpus": str(tmp_path)})
  source = envs.make("arithmetic", "search", tool_options={"corpus": str(tmp_path)}, oracle_tool="calculator")
  environment = source.environment()
  environment.reset(source.task(0, "train"), 0)
  call = ToolCall("search", {"query": "moss"})
  assert "north side" in environment.step(Action(TurnKind.TOOL_CALL, "", calls=(call,))).text
  environment.close()
