"""Where a step ends: at the end of a turn, at a text of its own, or at a number of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class StepEnd:
  """The end of a step.

  Attributes:
    chat: its stops end a turn, and with it a step.
    text: ends a step inside a turn, such as a newline; empty: a step is a whole turn.
  """

  chat: ChatFormat
  text: str = ""

  def __post_init__(self):
    if "\\n" in self.text:
      raise ValueError(
        f"search.step_end={self.text!r} has a backslash and an n, not a line end: in a shell a line end is $'\\n'"
      )
    if self.text and not can_spell(self.chat.tokenizer, self.text.encode()):
      raise ValueError(f"search.step_end={self.text!r}: no sequence of the vocabulary's tokens spells it: no step ends")

  def find(self, turn: Sequence[int], start: int) -> int | None:
    """Length of the turn up to the end of the step that began at token `start` of it; None where it goes on."""
    stop = self.chat.find_stop(turn, start)
    return min((end for end in (stop, self._find_text(turn, start)) if end is not None), default=None)

  def ends_turn(self, turn: Sequence[int], start: int) -> bool:
    """The turn, whose last step began at token `start`, is over."""
    return self.chat.find_stop(turn, start) is not None

  def pause_table(self, vocab_size: int) -> np.ndarray:
    """bool `[V]`: tokens after which the host must look; the chat format's, and those that may complete the text."""
    table = self.chat.pause_table(vocab_size)
    if self.text:
      text = self.text.encode()
      suffixes = tuple(text[n:] for n in range(len(text)))
      for token in range(self.chat.tokenizer.vocab_size):
        spelled = self.chat.tokenizer.token_bytes(token)
        table[token] |= spelled.startswith(suffixes) or text in spelled
    return table

  def _find_text(self, turn: Sequence[int], start: int) -> int | None:
    if not self.text:
      return None
    seen = b""
    for position in range(start, len(turn)):
      seen += self.chat.tokenizer.token_bytes(turn[position])
      if self.text.encode() in seen:
        return position + 1
    return None


def can_spell(tokenizer: Tokenizer, text: bytes) -> bool:
  """Whether some sequence of tokens has `text` in its bytes; it may begin and end inside a token."""
  vocabulary = {tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)} - {b""}
  if any(text in token for token in vocabulary):
    return True
  spelled = {n for n in range(1, len(text)) if any(token.endswith(text[:n]) for token in vocabulary)}
  for n in range(1, len(text)):
    if n in spelled:
      if any(token.startswith(text[n:]) for token in vocabulary):
        return True
      spelled |= {m for m in range(n + 1, len(text)) if text[n:m] in vocabulary}
  return False
