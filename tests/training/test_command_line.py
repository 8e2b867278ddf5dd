"""Exit codes, and which errors are one message."""

import sys

import pytest

from agentrl.training.checkpoint import CheckpointError
from agentrl.training.command_line import run_command
from agentrl.training.config import ConfigError
from agentrl.training.disk import DiskFullError
from agentrl.training.run_folder import RunFolderError


def raising(error):
  def command():
    raise error

  return command


def test_success_is_0_and_silent(capsys):
  assert run_command(lambda: None, traceback=False, interrupted="never") == 0
  assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [ConfigError, RunFolderError, CheckpointError, DiskFullError, FileNotFoundError])
def test_what_a_user_can_act_on_is_one_message(kind, capsys):
  assert run_command(raising(kind("what to do")), traceback=False, interrupted="") == 1
  assert capsys.readouterr().err.splitlines()[0] == f"{kind.__name__}: what to do"
  with pytest.raises(kind):
    run_command(raising(kind("what to do")), traceback=True, interrupted="")


@pytest.mark.parametrize("kind", [TypeError, KeyError, AssertionError, RuntimeError])
def test_a_defect_keeps_its_traceback(kind):
  with pytest.raises(kind):
    run_command(raising(kind("a bug")), traceback=False, interrupted="")


def test_ctrl_c_says_how_to_go_on(capsys):
  assert run_command(raising(KeyboardInterrupt()), traceback=False, interrupted="Go on so.") == 130
  assert capsys.readouterr().err == "\nInterrupted. Go on so.\n"


def test_an_exit_passes():
  with pytest.raises(SystemExit, match="143"):
    run_command(lambda: sys.exit(143), traceback=False, interrupted="")
