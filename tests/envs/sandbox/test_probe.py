"""The probe of the layers, and what it refuses."""

import platform

import pytest

from agentrl.envs.sandbox import (
  ISOLATORS,
  PYTHON,
  Limits,
  Sandbox,
  SandboxUnavailable,
  find_isolator,
  isolators,
  probe,
)
from agentrl.types import EnvironmentFailed

LIMITS = Limits(wall_seconds=10.0, processes=8, memory_bytes=256 << 20, file_bytes=1 << 20, output_bytes=1 << 16)


@pytest.fixture(params=tuple(ISOLATORS))
def isolator(request) -> str:
  """Both must hold on the machine that tests: `scripts/test.sh` installs bubblewrap."""
  return request.param


def test_every_layer_holds(isolator):
  report = probe((isolator,))
  assert report.isolator == isolator
  assert report.open_layers == []


def test_a_leaky_isolator_is_refused():
  def leaky(command, limits, status_fd, filter_fd):
    report = '"$@"; echo "{\\"exit-code\\": $?}" >&' + str(status_fd)
    return ["/bin/bash", "-c", report, "bash", *command]

  with pytest.raises(SandboxUnavailable, match=r"leaky: does not hold: network_blocked, host_files_hidden") as caught:
    find_isolator({"leaky": leaky})
  assert "apt-get install bubblewrap" in str(caught.value)
  assert "processes_hidden" in str(caught.value)


def test_an_isolator_that_bounds_no_files_is_refused(isolator, monkeypatch):
  monkeypatch.setattr(isolators, "_scratch", lambda limits: f"size={limits.file_bytes},mode=700")
  with pytest.raises(SandboxUnavailable, match=rf"{isolator}: does not hold: limits_set\)"):
    find_isolator({isolator: ISOLATORS[isolator]})


def test_a_broken_isolator_is_not_the_policys_failure(monkeypatch):
  monkeypatch.setitem(ISOLATORS, "bubblewrap", lambda *_: ["/bin/sh", "-c", "echo no namespaces >&2; exit 1"])
  broken = Sandbox(LIMITS, isolator="jail")
  monkeypatch.setattr(broken, "_isolate", ISOLATORS["bubblewrap"])
  with pytest.raises(EnvironmentFailed, match="no namespaces"):
    broken.run([*PYTHON, "-c", "print(1)"])
  with pytest.raises(SandboxUnavailable, match=r"bubblewrap: the sandbox did not run its command: no namespaces"):
    find_isolator({"bubblewrap": ISOLATORS["bubblewrap"]})


def test_other_systems_are_refused(monkeypatch):
  monkeypatch.setattr(platform, "machine", lambda: "riscv64")
  with pytest.raises(SandboxUnavailable, match="riscv64"):
    find_isolator(ISOLATORS)
