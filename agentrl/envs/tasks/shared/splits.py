"""Train and held-out tasks that are disjoint by construction.

What makes a task the same as another (its content) is hashed into one of `BUCKETS` buckets; bucket 0 is held out, at
every difficulty and seed. A generator draws contents until one falls on its side.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import TypeVar

BUCKETS = 8
TRAIN, HELD_OUT = "train", "held_out"
_DRAWS = 10_000  # an eighth of all contents is held out: that many misses in a row means that none is

T = TypeVar("T")


def digest(content: str) -> int:
  """A hash that is the same in every process; its bits are independent of one another, as those of a CRC are not."""
  return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big")


def belongs(content: str, split: str) -> bool:
  """Whether a content is on this side: an eighth of all contents is held out."""
  return (digest(content) % BUCKETS == 0) == (split == HELD_OUT)


def generator(split: str, source: tuple) -> random.Random:
  """Random numbers that derive from the split and `source` alone, such as ("arithmetic", difficulty, index, seed).

  Raises:
    ValueError: an unknown split.
  """
  if split not in (TRAIN, HELD_OUT):
    raise ValueError(f"no split is called {split!r}; known: {TRAIN}, {HELD_OUT}")
  return random.Random(repr((*source, split)))


def draw(make: Callable[[random.Random], T], content_of: Callable[[T], str], *, split: str, source: tuple) -> T:
  """The first candidate of the split; a pure function of its arguments.

  Args:
    make: draws a candidate from a generator of random numbers.
    content_of: what makes a candidate the same task as another, in words of the family's choice.
    split: "train" or "held_out".
    source: see `generator`.

  Raises:
    ValueError: an unknown split, or a family whose options leave nothing on this side.
  """
  rng = generator(split, source)
  for _ in range(_DRAWS):
    candidate = make(rng)
    if belongs(content_of(candidate), split):
      return candidate
  raise ValueError(f"{source}: {_DRAWS} draws gave no {split} task; allow more variety in its options")


def task_id(family: str, split: str, difficulty: int, index: int, seed: int) -> str:
  """Such as "arithmetic-train-1-17"; seeds other than 0 are appended."""
  return f"{family}-{split}-{difficulty}-{index}" + (f"-{seed}" if seed else "")
