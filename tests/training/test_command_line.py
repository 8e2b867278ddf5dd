"""Which errors of a run are one message, and what is checked before the work is done."""

import pathlib

import pytest

from agentrl.envs.sandbox import SandboxUnavailable
from agentrl.training.checkpoint import CheckpointError
from agentrl.training.command_line import check_out, run_command, settings_of
from agentrl.training.config_values import ConfigError
from agentrl.training.disk import DiskFullError
from agentrl.training.evaluation import EnvironmentsFailed
from agentrl.training.left_out import TasksLeftOut
from agentrl.training.loop import NothingToTrainOn
from agentrl.training.run_folder import RunFolderError
from agentrl.types import EnvironmentFailed

KINDS = [
  ConfigError, RunFolderError, CheckpointError, DiskFullError, EnvironmentFailed, EnvironmentsFailed,
  NothingToTrainOn, SandboxUnavailable, TasksLeftOut, PermissionError,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_user_can_act_on_is_one_message(kind, capsys):
  def command():
    raise kind("what to do")

  assert run_command(command, traceback=False, interrupted="") == 1
  assert capsys.readouterr().err.splitlines()[0] == f"{kind.__name__}: what to do"
  with pytest.raises(kind):
    run_command(command, traceback=True, interrupted="")


@pytest.mark.parametrize("kind", [FileNotFoundError, ModuleNotFoundError])
def test_what_is_missing_names_the_config_that_asked_for_it(kind, capsys):
  def command():
    with settings_of("configs/x.py:arm"):
      raise kind("cold_start.run: there is none")

  assert run_command(command, traceback=False, interrupted="") == 1
  told = capsys.readouterr().err
  assert (
    told.startswith(f"{kind.__name__}: cold_start.run: there is none") and "(in the run of configs/x.py:arm)" in told
  )


def test_a_result_that_could_not_be_written_is_an_error_before_the_work(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  check_out(None)
  check_out(pathlib.Path("out.json"))
  with pytest.raises(FileNotFoundError, match=r"--out nowhere/out.json: there is no folder nowhere; make it"):
    check_out(pathlib.Path("nowhere/out.json"))
