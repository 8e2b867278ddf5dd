"""Actions of an oracle."""

from __future__ import annotations

from agentrl.types import Action, ToolCall, TurnKind


def call(name: str, **arguments: str) -> Action:
  """A turn with one tool call; its text is left to the chat format."""
  return Action(TurnKind.TOOL_CALL, "", calls=(ToolCall(name, arguments),))


def answer(text: str) -> Action:
  """The final turn."""
  return Action(TurnKind.ANSWER, "", answer=text)


def compute(expression: str, tool: str, *, family: str) -> list[Action]:
  """The calls that evaluate an expression: one, or none where there is no tool.

  Args:
    expression: valid for the calculator and in Python.
    tool: "calculator", "python", "python_session" or "none".
    family: for the error.

  Raises:
    ValueError: a tool that evaluates nothing.
  """
  match tool:
    case "calculator":
      return [call("calculate", expression=expression)]
    case "python" | "python_session":
      return [call("python", code=f"print({expression})")]
    case "none":
      return []
  raise ValueError(
    f"{family} tasks cannot be solved with the tool {tool!r}; use calculator, python, python_session or none"
  )
