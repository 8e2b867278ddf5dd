"""Heads of real models for the benchmarks, and forests of any kind for these and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Heads(NamedTuple):
  """Heads of one attention layer."""

  query: int  # H
  key: int  # K
  channels: int  # C


MODELS = {
  "smollm2_135m": Heads(9, 3, 64),
  "qwen2_5_0_5b": Heads(14, 2, 64),
  "qwen3_0_6b": Heads(16, 8, 128),
  "llama3_2_1b": Heads(32, 8, 64),
  "qwen3_8b": Heads(32, 8, 128),
}


def chain(length: int) -> np.ndarray:
  """`subtree_end [T]` of one causal sequence."""
  return np.full(length, length, np.int32)


def side_by_side(trees: Sequence[np.ndarray], length: int) -> np.ndarray:
  """`subtree_end [length]` of trees one behind another, then padding."""
  starts = np.cumsum([0, *(len(tree) for tree in trees)])
  row = np.concatenate([tree + start for tree, start in zip(trees, starts, strict=False)])
  return np.pad(row, (0, length - len(row))).astype(np.int32)


def group(samples: int, prompt: int, new: int) -> np.ndarray:
  """`subtree_end [T]` of a prompt and its samples."""
  return tree(prompt, [chain(new)] * samples)


def tree(trunk: int, branches: Sequence[np.ndarray]) -> np.ndarray:
  """`subtree_end [T]` of a trunk of so many tokens and the branches that continue it."""
  length = trunk + sum(len(branch) for branch in branches)
  return np.concatenate([chain(trunk) - trunk + length, side_by_side(branches, length - trunk) + trunk]).astype(
    np.int32
  )


def visible_pairs(subtree_end: np.ndarray) -> int:
  """Pairs of tokens of a row `[T]` of which the later one sees the other: what attention cannot do without."""
  return int(np.sum(np.maximum(subtree_end - np.arange(len(subtree_end)), 0)))


ONE_CHAIN = "1 sample: one causal sequence"


def example_rows(length: int) -> dict[str, np.ndarray]:
  """Rows of `length` tokens, at least 192, as a group, a tree search and packing make them, the dense one first."""
  half, eighth = length // 2, length // 8
  table = {
    ONE_CHAIN: chain(length),
    "8 samples": group(8, length - 8 * (length // 16), length // 16),
    "64 samples": group(64, length - 64 * (length // 96), length // 96),
    "tree of 2 x 4 branches": tree(eighth, [group(4, eighth, (length - 3 * eighth) // 8)] * 2),
    "packed, 2 groups of 8": side_by_side([group(8, half - 8 * (half // 16), half // 16)] * 2, length),
    "packed, 16 sequences": side_by_side([chain(length // 16)] * 16, length),
    "half padding": side_by_side([chain(half)], length),
  }
  return {name: side_by_side([row], length) for name, row in table.items()}
