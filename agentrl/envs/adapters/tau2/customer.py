"""A scripted customer for tasks that upstream plays with a language model.

He tells the parts of his script one after the other: first why he calls, then who he is and what he knows, then what he
wants in which case. To every question he also says yes. When all is told, a plain statement ends the conversation, and
so does being handed on to a human.

What this is good for: tool use over several turns, with a reward that is upstream's. What it is not: he agrees to
whatever is proposed, also where his script would have him refuse; he tells at once what a script would have him keep
back or say only if asked; requests that depend on an earlier outcome come before it; he does not notice whether he was
asked for something else. A policy that learns with him has learnt nothing about drawing out a customer, and its success
is not comparable with the leaderboard's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_OBJECT = (
  r"(?:to|for|with|of|from|by|about|on|at|let|help|helps|tell|tells|told|give|gives|gave|offer|offers|ask|asks|asked|"
  r"inform|informs|charge|charges|allow|allows|refund|refunds|remind|reminds|transfer|transfers)"
)
_FIRST_PERSON = [
  (rf"\b({_OBJECT}) you\b", r"\1 me"),
  (r"\byou(?: are|'re)\b", "I am"),
  (r"\byou were\b", "I was"),
  (r"\byourself\b", "myself"),
  (r"\byours\b", "mine"),
  (r"\byour\b", "my"),
  (r"\byou\b", "I"),
]


class Customer:
  """One conversation.

  Args:
    instructions: of the task's user scenario.
  """

  def __init__(self, instructions: Mapping[str, Any]):
    known = " ".join(filter(None, (instructions["known_info"], instructions["unknown_info"])))
    parts = (instructions["reason_for_call"], known, instructions["task_instructions"])
    self._left = [first_person(part) for part in parts if part and re.search(r"\w", part)]

  @property
  def parts_left(self) -> int:
    """Of the script."""
    return len(self._left)

  def opens(self) -> str:
    """The first thing he says."""
    return self._left.pop(0)

  def replies(self, utterance: str) -> str | None:
    """What he says to an utterance; None: he hangs up."""
    asked = "?" in utterance
    if self._left:
      return f"Yes. {self._left.pop(0)}" if asked else self._left.pop(0)
    return "Yes, please go ahead." if asked else None


def first_person(script: str) -> str:
  """A script that says "you", as the customer would say it."""
  text = " ".join(script.split())
  for pattern, spoken in _FIRST_PERSON:
    text = re.sub(pattern, spoken, text, flags=re.IGNORECASE)
  return re.sub(r"(^|[.!?] )([a-z])", lambda found: found[1] + found[2].upper(), text)
