"""Shapes of real models, for the benchmark, and tiny ones that reach every edge, for the tests."""

from typing import NamedTuple


class Spec(NamedTuple):
  """One problem size."""

  tokens: int  # T
  width: int  # D
  vocabulary: int  # V


MODELS = {
  "smollm2_135m": Spec(tokens=1024, width=576, vocabulary=49_152),
  "qwen2_5_0_5b": Spec(tokens=8192, width=896, vocabulary=151_936),
  "qwen3_0_6b": Spec(tokens=8192, width=1024, vocabulary=151_936),
  "qwen3_1_7b": Spec(tokens=8192, width=2048, vocabulary=151_936),
  "llama3_2_1b": Spec(tokens=8192, width=2048, vocabulary=128_256),
  "qwen3_8b": Spec(tokens=8192, width=4096, vocabulary=151_936),
}

# For tiles of 4 tokens and 8 columns.
TINY_TILE = (4, 8)
TINY = {
  "one_tile": Spec(tokens=4, width=3, vocabulary=8),
  "whole_tiles": Spec(tokens=8, width=3, vocabulary=24),
  "one_below": Spec(tokens=7, width=3, vocabulary=23),
  "one_above": Spec(tokens=9, width=3, vocabulary=25),
  "less_than_a_tile": Spec(tokens=1, width=3, vocabulary=5),
}
