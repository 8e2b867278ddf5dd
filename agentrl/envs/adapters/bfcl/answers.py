"""Single turns: the policy makes the calls that a request asks for, or none, and that is the episode.

Calls are compared with gold by `matching.py` and are not run. In the irrelevance categories it is right to call
nothing, and in `live_relevance` to call anything that is on offer. A malformed turn is wrong everywhere, where upstream
takes it for calling nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrl.envs.adapters.bfcl import entries, matching
from agentrl.envs.base import Setting
from agentrl.types import Action, Message, Observation, ToolCall, TurnKind


class Episode:
  """One request.

  Args:
    category: one of `entries.WITH_GOLD` and `entries.WITHOUT_GOLD`.
    entry: `Entry.content`.
    setting: system message and examples; no tool is run that it could limit.
  """

  def __init__(self, category: str, entry: Mapping[str, Any], setting: Setting):
    self._category, self._entry = category, entry
    language = matching.language_of(category)
    self.tools = [entries.tool_spec(function, language) for function in entry["functions"]]
    said = [Message(message["role"], message["content"]) for message in entry["messages"]]
    opening = setting.opening
    if opening and opening[0].role == said[0].role == "system":
      opening[0] = Message("system", f"{opening[0].content}\n\n{said.pop(0).content}")
    elif said[0].role == "system":
      opening.insert(0, said.pop(0))
    self.opening = [*opening, *said]

  def step(self, action: Action) -> Observation:
    """Judges the turn."""
    right = action.kind in (TurnKind.TOOL_CALL, TurnKind.ANSWER) and self._is_right(action.calls)
    return Observation("", done=True, parts={"correct": float(right)})

  def _is_right(self, calls: Any) -> bool:
    if self._entry["gold"] is not None:
      return matching.matches(self._category, self._entry["functions"], calls, self._entry["gold"])
    return bool(calls) == (self._category == "live_relevance")


def oracle(category: str, entry: Mapping[str, Any]) -> list[Action]:
  """Gold's calls; where there is no gold, an answer, or a call without arguments."""
  if entry["gold"] is not None:
    calls = matching.solution(category, entry["functions"], entry["gold"])
  else:
    calls = [ToolCall(entry["functions"][0]["name"], {})] if category == "live_relevance" else []
  if not calls:
    return [Action(TurnKind.ANSWER, "No tool fits.", answer="No tool fits.")]
  return [Action(TurnKind.TOOL_CALL, "", calls=calls)]
