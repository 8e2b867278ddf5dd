"""Limits of a guest."""

import pytest

from agentrl.envs.sandbox import (
  Limits,
)


@pytest.mark.parametrize("wrong", [{"wall_seconds": 0.0}, {"cpu_seconds": 0.5}, {"processes": -1}, {"memory_bytes": 0}])
def test_limits_are_checked(wrong):
  with pytest.raises(ValueError, match=rf"Limits\.{next(iter(wrong))}"):
    Limits(**wrong)
