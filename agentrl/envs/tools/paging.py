"""Long texts, a page at a time."""

from __future__ import annotations

from agentrl.envs.schema import ToolArgumentError


def page(text: str, start: int, chars: int) -> str:
  """The characters from `start` on, and a note that says where the page stands and how to read on.

  Args:
    text: all of it.
    start: number of characters to skip.
    chars: of a page; the note comes on top.

  Raises:
    ToolArgumentError: there is no such place in the text; told to the policy.
  """
  if start < 0 or (start >= len(text) and start > 0):
    raise ToolArgumentError(f"start must be between 0 and {max(len(text) - 1, 0)}, got {start}")
  end = min(start + chars, len(text))
  if start == 0 and end == len(text):
    return text
  onward = f"read on with start={end}" if end < len(text) else "this is the end"
  return f"{text[start:end]}\n[characters {start} to {end} of {len(text)}; {onward}]"
