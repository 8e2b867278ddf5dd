import pytest

from agentrl.envs.tasks.shared import traces
from agentrl.types import Action, ToolCall, TurnKind


def test_actions_leave_their_text_to_the_chat_format():
  assert traces.call("lookup", key="a") == Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("lookup", {"key": "a"}),))
  assert traces.answer("4") == Action(TurnKind.ANSWER, "", answer="4")


def test_a_computation_by_every_tool():
  assert traces.compute("2+2", "calculator", family="f") == [traces.call("calculate", expression="2+2")]
  assert traces.compute("2+2", "python", family="f") == [traces.call("python", code="print(2+2)")]
  assert traces.compute("2+2", "none", family="f") == []
  with pytest.raises(ValueError, match="f tasks cannot be solved with the tool 'lookup'; use calculator"):
    traces.compute("2+2", "lookup", family="f")
