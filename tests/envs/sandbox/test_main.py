import subprocess
import sys

import pytest

from agentrl.envs.sandbox import ISOLATORS, __main__, probe
from agentrl.envs.sandbox.__main__ import look, main


@pytest.fixture(autouse=True)
def wide(monkeypatch):
  monkeypatch.setenv("COLUMNS", "200")


def leaky(command, limits, status_fd, filter_fd):
  report = '"$@"; echo "{\\"exit-code\\": $?}" >&' + str(status_fd)
  return ["/bin/bash", "-c", report, "bash", *command]


def broken(*_):
  raise FileNotFoundError("bwrap is not on the PATH")


def test_shows_every_layer_and_what_runs_code():
  done = subprocess.run([sys.executable, "-m", "agentrl.envs.sandbox"], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert "Code runs in: bubblewrap." in done.stdout
  for layer in list(vars(probe()))[1:]:
    assert layer in done.stdout
  assert "does not hold" not in done.stdout


def test_where_none_holds_it_says_what_to_install(monkeypatch, capsys):
  monkeypatch.setattr(__main__, "ISOLATORS", {"leaky": leaky, "missing": broken})
  assert main([]) == 1
  told = capsys.readouterr().out
  assert told.count("does not hold") >= 6
  assert "missing is not available: a sandbox could not be started: bwrap is not on the PATH" in told
  assert "apt-get install bubblewrap util-linux" in told
  assert "No isolator holds" in told


def test_the_second_is_enough(monkeypatch, capsys):
  monkeypatch.setattr(__main__, "ISOLATORS", {"missing": broken, "jail": ISOLATORS["jail"]})
  assert main([]) == 0
  assert "Code runs in: jail." in capsys.readouterr().out


def test_a_layer_that_is_not_available_is_told_with_its_remedy(monkeypatch, capsys):
  monkeypatch.setattr("agentrl.envs.sandbox.cgroup.groups", lambda limits: None)
  assert main([]) == 0
  told = capsys.readouterr().out
  assert "not available here" in told
  assert "tree_memory_capped needs a control group" in told


def test_other_systems_have_no_guests(monkeypatch):
  monkeypatch.setattr("platform.system", lambda: "Darwin")
  assert look({"jail": ISOLATORS["jail"]})["jail"].startswith("guests need Linux on x86_64")


def test_arguments_are_refused(capsys):
  with pytest.raises(SystemExit):
    main(["--nonsense"])
  assert "unrecognized arguments: --nonsense" in capsys.readouterr().err
