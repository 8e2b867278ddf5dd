"""Train and held-out tasks that are disjoint by construction.

What makes a task the same as another (its content) is hashed into one of `BUCKETS` buckets; bucket 0 is held out, at
every difficulty and seed. A generator draws contents until one falls on its side.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import TypeVar

BUCKETS = 8
TRAIN, HELD_OUT = "train", "held_out"
_DRAWS = 10_000  # an eighth of all contents is held out: that many misses in a row means that none is

T = TypeVar("T")


def is_held_out(content: str) -> bool:
  """Whether a content belongs to the held-out split."""
  return zlib.crc32(content.encode()) % BUCKETS == 0


def draw(make: Callable[[random.Random], T], content_of: Callable[[T], str], *, split: str, source: tuple) -> T:
  """The first candidate of the split; a pure function of its arguments.

  Args:
    make: draws a candidate from a generator of random numbers.
    content_of: what makes a candidate the same task as another, in words of the family's choice.
    split: "train" or "held_out".
    source: what the randomness derives from, such as ("arithmetic", difficulty, index, seed).

  Raises:
    ValueError: an unknown split, or a family whose options leave nothing on this side.
  """
  if split not in (TRAIN, HELD_OUT):
    raise ValueError(f"no split is called {split!r}; known: {TRAIN}, {HELD_OUT}")
  rng = random.Random(repr((*source, split)))
  for _ in range(_DRAWS):
    candidate = make(rng)
    if is_held_out(content_of(candidate)) == (split == HELD_OUT):
      return candidate
  raise ValueError(f"{source}: {_DRAWS} draws gave no {split} task; allow more variety in its options")


def task_id(family: str, split: str, difficulty: int, index: int, seed: int) -> str:
  """Such as "arithmetic-train-1-17"; seeds other than 0 are appended."""
  return f"{family}-{split}-{difficulty}-{index}" + (f"-{seed}" if seed else "")
