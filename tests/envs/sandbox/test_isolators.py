"""Which isolator is taken."""

import pytest

from agentrl.envs.sandbox import (
  ISOLATORS,
  Sandbox,
  SandboxUnavailable,
  find_isolator,
)


def test_the_jail_is_taken_where_bubblewrap_is_missing(monkeypatch):
  monkeypatch.setenv("PATH", "/nowhere")
  assert find_isolator(ISOLATORS).isolator == "jail"
  with pytest.raises(SandboxUnavailable, match="bwrap is not on the PATH"):
    find_isolator({"bubblewrap": ISOLATORS["bubblewrap"]})


def test_an_unknown_isolator_is_an_error():
  with pytest.raises(ValueError, match=r"'docker'.*bubblewrap, jail"):
    Sandbox(isolator="docker")
