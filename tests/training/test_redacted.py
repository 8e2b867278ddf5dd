import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from agentrl.training import config as config_lib
from agentrl.training import config_values, saved
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.redacted import redacted_command, redacted_config
from agentrl.training.run_folder import RunFolder, RunFolderError, read_config
from agentrl.training.stages import stages_of

TOKEN = "tok-5f2d8e91c7"
SERVERS = "task.tool_options.servers"


def weather(**settings):
  return {"weather": {"command": "weather-server", **settings}}


def config_with(servers):
  text = json.dumps({"servers": servers})
  return config_lib.load("configs/quickstart.py", ["--config.task.tool=mcp", f"--config.task.tool_options={text}"])


def test_a_config_loses_credentials_in_its_open_sections_and_nothing_else():
  config = config_with(weather(env={"TOKEN": TOKEN}, env_from=["OTHER"]))
  shown = redacted_config(config)
  (changed,) = config_values.differences(config, shown)
  assert (changed.key, changed.new) == (f"{SERVERS}.weather.env.TOKEN", "<redacted>")
  assert redacted_config(ConfigDict({"seed": 1})).to_dict() == {"seed": 1}


@pytest.mark.parametrize(
  ("command", "shown"),
  [
    ([f"--config.{SERVERS}.a.env.T={TOKEN}"], [f"--config.{SERVERS}.a.env.T=<redacted>"]),
    ([f"--config.{SERVERS}.a.headers.T", TOKEN], [f"--config.{SERVERS}.a.headers.T", "<redacted>"]),
    (
      [f"--config.{SERVERS}={{'a': {{'env': {{'T': '{TOKEN}'}}, 'shared': True}}}}"],
      [f'--config.{SERVERS}={{"a": {{"env": {{"T": "<redacted>"}}, "shared": true}}}}'],
    ),
    (
      [f'--config.task.tool_options={{"api_key": "{TOKEN}"}}'],
      ['--config.task.tool_options={"api_key": "<redacted>"}'],
    ),
    ([f"--config.{SERVERS}.a.url=https://x/?key={TOKEN}"], [f"--config.{SERVERS}.a.url=https://x/?key=<redacted>"]),
    (["--config.model.end_token=x", "--config.seed", "3"], ["--config.model.end_token=x", "--config.seed", "3"]),
    (
      ["train.py", "--workdir", "runs/x", "--token", TOKEN],
      ["train.py", "--workdir", "runs/x", "--token", "<redacted>"],
    ),
    ([], []),
  ],
)
def test_a_command_loses_credentials_and_nothing_else(command, shown):
  assert redacted_command(command) == shown


def test_a_run_folder_holds_no_credentials_and_goes_on_with_other_ones(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, "argv", ["train.py", f"--config.{SERVERS}.weather.env.TOKEN={TOKEN}"])
  run = tmp_path / "run"
  with RunFolder.open(run, config_with(weather(env={"TOKEN": TOKEN}))) as folder:
    assert folder.config.task.tool_options.servers.weather.env.TOKEN == TOKEN
    folder.write_metrics(1, {"group/x": 1.0})
  told = "".join(path.read_text() for path in run.rglob("*") if path.is_file())
  assert TOKEN not in told and told.count("<redacted>") == 2  # in config.json and in run.json
  with RunFolder.open(run, config_with(weather(env={"TOKEN": "tok-another"}))):
    pass
  assert read_config(run).task.tool_options.servers.weather.env.TOKEN == "<redacted>"
  with pytest.raises(RunFolderError, match=r"weather\.env\.OTHER: there '\(absent\)', now '<redacted>'") as error:
    RunFolder.open(run, config_with(weather(env={"TOKEN": TOKEN, "OTHER": TOKEN})))
  assert TOKEN not in str(error.value)


def test_a_folder_that_was_written_with_credentials_goes_on_and_tells_none(tmp_path):
  config = config_with(weather(env={"TOKEN": TOKEN}))
  with RunFolder.open(tmp_path / "run", config) as folder:
    folder.write_metrics(1, {"group/x": 1.0})
    (folder.path / "config.json").write_text(config_values.to_json(config))
  with RunFolder.open(tmp_path / "run", config):
    pass
  with pytest.raises(RunFolderError, match="another config") as error:
    RunFolder.open(tmp_path / "run", config_with(weather()))
  assert TOKEN not in str(error.value)


def test_a_cold_start_is_taken_over_under_another_credential_and_a_refusal_tells_none(tmp_path):
  parts = types.SimpleNamespace(params={"weight": np.zeros(1)})
  config = config_with(weather(env={"TOKEN": TOKEN}))
  with RunFolder.open(tmp_path / "run", config) as folder:
    checkpoints = Checkpointer(folder.checkpoints / "cold_start")
    checkpoints.save(config.cold_start.steps, {"params": {"policy": {"weight": np.ones(1)}}}, {"next_task": 7})

  def take(**env):
    taker = config_values.resolve(
      config_with(weather(env=env)), {"cold_start.run": str(tmp_path / "run")}, where="test"
    )
    return saved.taken_over(stages_of(taker)[0], taker, parts)

  assert take(TOKEN="tok-another") == ({"weight": np.ones(1)}, 7)
  with pytest.raises(ValueError, match=r"weather\.env\.OTHER: there '\(absent\)', here '<redacted>'") as error:
    take(TOKEN=TOKEN, OTHER=TOKEN)
  assert TOKEN not in str(error.value)


WITH_WANDB = """
import pathlib, sys
from agentrl.training.metrics import MetricsWriter
with MetricsWriter(pathlib.Path(sys.argv[1]) / "metrics.jsonl", wandb_mode="offline", config={"a": 1}) as writer:
  writer.write(1, {"group/x": 1.0})
"""


def test_wandb_is_not_told_a_command_that_holds_a_credential(tmp_path):
  command = [sys.executable, "-c", WITH_WANDB, str(tmp_path), f"--config.{SERVERS}.a.env.T={TOKEN}"]
  root = str(pathlib.Path(__file__).parents[2])
  path = {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
  subprocess.run(command, check=True, capture_output=True, env=os.environ | path)
  written = [path for path in tmp_path.rglob("*") if path.is_file()]
  assert any(path.suffix == ".wandb" for path in written)
  assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
