"""Which implementation computes a problem, and which tiles it gets."""

import pytest

from agentrl.ops.linear_logprob.backends import DEFAULT, TABLE, Choice, available, choose, load, shape_class
from agentrl.ops.linear_logprob.chunked import ACCELERATOR_TILE, CHUNKED, CPU_TILE
from agentrl.ops.linear_logprob.differentiable import Tile

KNOWN = {("H200", "wide, many"): {"triton": (64, 128), "chunked": (512, 1024)}}


@pytest.mark.parametrize(
  ("tokens", "width", "name"),
  [
    (16_384, 1024, "narrow, few"),
    (16_385, 1024, "narrow, many"),
    (1, 1025, "wide, few"),
    (100_000, 4096, "wide, many"),
  ],
)
def test_the_class_of_a_shape(tokens, width, name):
  assert shape_class(tokens, width) == name


@pytest.mark.parametrize(
  ("device", "implementation", "chosen"),
  [
    ("H200", None, Choice("triton", Tile(64, 128))),  # the first is the fastest
    ("H200", "chunked", Choice("chunked", Tile(512, 1024))),
    ("H200", "reference", Choice("reference", ACCELERATOR_TILE)),
    ("TPU v5", None, Choice(DEFAULT, ACCELERATOR_TILE)),
    ("cpu", None, Choice(DEFAULT, CPU_TILE)),
  ],
)
def test_the_fastest_that_was_recorded_or_the_default(device, implementation, chosen):
  assert choose(device, 100_000, 4096, implementation, KNOWN) == chosen


def test_the_table_names_implementations_with_tiles():
  for (device, shapes), entry in TABLE.items():
    assert device and shapes in {"narrow, few", "narrow, many", "wide, few", "wide, many"}
    assert all(tokens > 0 and columns > 0 for tokens, columns in entry.values())
    assert next(iter(entry)) in (*available(), "triton", "pallas")


def test_what_does_not_run_here_is_refused_with_what_does():
  assert load("chunked") is CHUNKED
  with pytest.raises(ValueError, match="implementation='pallas' does not run on cpu; here: None, reference, chunked"):
    load("pallas")
  with pytest.raises(ValueError, match="no linear_logprob implementation is called 'chunk': did you mean 'chunked'"):
    load("chunk")
