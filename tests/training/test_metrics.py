"""metrics.jsonl survives kills, bad numbers and full disks."""

import json
import math
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.training import disk, metrics


@pytest.fixture
def path(tmp_path):
  return tmp_path / "metrics.jsonl"


def test_a_line_holds_step_wall_time_and_floats(path):
  with metrics.MetricsWriter(path) as writer:
    writer.write(0, {"eval/success": np.float32(0.25)})
    writer.write(2, {"train/reward": jnp.ones((1,)).sum(), "rollout/tool_calls": 3})
  first, second = metrics.read(path)
  assert first["eval/success"] == 0.25
  assert second["step"] == 2
  assert second["train/reward"] == 1.0
  assert isinstance(second["rollout/tool_calls"], float)
  assert second["wall_s"] >= first["wall_s"] >= 0


def test_a_number_that_is_not_finite_is_null_and_flagged(path, caplog):
  with metrics.MetricsWriter(path) as writer, caplog.at_level("ERROR", logger="absl"):
    writer.write(1, {"policy/loss": math.nan, "optimizer/grad_norm": jnp.inf, "train/reward": 1.0})
  line = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
  assert line["policy/loss"] is None
  assert line["optimizer/grad_norm"] is None
  assert line["nonfinite"] == ["policy/loss", "optimizer/grad_norm"]
  assert "step 1: policy/loss is nan, optimizer/grad_norm is inf" in caplog.text


def test_a_torn_last_line_is_dropped_and_writing_goes_on(path):
  with metrics.MetricsWriter(path) as writer:
    writer.write(1, {"train/reward": 0.5})
  whole = path.read_bytes()
  path.write_bytes(whole + b'{"step": 2, "wall')
  assert [line["step"] for line in metrics.read(path)] == [1]
  with metrics.MetricsWriter(path) as writer:
    assert path.read_bytes() == whole
    writer.write(2, {"train/reward": 0.75})
  assert [line["train/reward"] for line in metrics.read(path)] == [0.5, 0.75]


def test_truncate_after_gives_the_file_that_was(path):
  with metrics.MetricsWriter(path) as writer:
    writer.write(1, {"a/b": 1})
    writer.write(2, {"a/b": 2})
    kept = path.read_bytes()
    writer.write(3, {"a/b": 3})
  metrics.truncate_after(path, 2)
  assert path.read_bytes() == kept
  metrics.truncate_after(path, 0)
  assert path.read_bytes() == b""
  metrics.truncate_after(path.with_name("absent.jsonl"), 2)


def test_a_writer_truncates_its_open_file(path):
  with metrics.MetricsWriter(path) as writer:
    for step in (1, 2, 3):
      writer.write(step, {"a/b": step})
    writer.truncate_after(1)
    writer.write(2, {"a/b": 20})
  assert [line["a/b"] for line in metrics.read(path)] == [1, 20]


def test_the_last_line_found_may_be_written_anew(path):
  for value in (1, 2):
    with metrics.MetricsWriter(path) as writer:
      writer.write(0, {"a/b": value})
      with pytest.raises(ValueError, match="steps must grow"):
        writer.write(0, {"a/b": 3})
  assert [line["a/b"] for line in metrics.read(path)] == [2]


def test_wall_time_continues(path):
  path.write_text('{"step": 4, "wall_s": 1000.0}\n')
  with metrics.MetricsWriter(path) as writer:
    assert 1000 <= writer.write(5, {})["wall_s"] < 1010


@pytest.mark.parametrize(
  ("step", "values", "words"),
  [
    (1, {"a/b": 1}, "step 1 after those of step 1"),
    (2, {"loss": 1}, "'loss' must be named 'group/name'"),
    (2, {"a/b": np.ones(2)}, "'a/b' must be a single number"),
    (2, {"a/b": None}, "'a/b' must be a single number"),
  ],
)
def test_wrong_metrics_are_named(path, step, values, words):
  with metrics.MetricsWriter(path) as writer:
    writer.write(1, {"a/b": 1})
    with pytest.raises(ValueError, match=words):
      writer.write(step, values)
  assert len(metrics.read(path)) == 1


def test_a_full_disk_names_file_and_space(path, tmp_path):
  with metrics.MetricsWriter(path) as writer:
    os.dup2(os.open("/dev/full", os.O_WRONLY), writer._file.fileno())
    with pytest.raises(disk.DiskFullError, match=r"metrics\.jsonl \(\d+ MiB free\)"):
      writer.write(1, {"a/b": 1})


def test_which_metrics_are_timing():
  timing = ["wall_s", "time/step_s", "rollout/tokens_per_second", "update/tokens_per_second"]
  assert all(metrics.is_timing(name) for name in timing)
  assert not any(metrics.is_timing(name) for name in ["step", "train/reward", "rollout/length"])


def test_wandb_gets_the_same_metrics_offline(path, monkeypatch):
  import wandb

  started, logged = {}, []

  class Run:
    def log(self, values, step):
      logged.append((step, values))

    def finish(self, exit_code):
      logged.append(exit_code)

  monkeypatch.setattr(wandb, "init", lambda **settings: started.update(settings) or Run())
  with metrics.MetricsWriter(path, wandb_mode="offline", run_id="abc", config={"seed": 1}) as writer:
    line = writer.write(1, {"train/reward": 0.5})
  assert (started["mode"], started["id"], started["config"]) == ("offline", "abc", {"seed": 1})
  assert logged == [(1, {"wall_s": line["wall_s"], "train/reward": 0.5}), 0]


def test_a_writer_that_an_error_ends_tells_wandb_so_and_has_every_line(path, monkeypatch):
  import wandb

  codes = []

  class Broken:
    def log(self, values, step):
      raise RuntimeError("the backend process has shut down")

    def finish(self, exit_code):
      codes.append(exit_code)

  monkeypatch.setattr(wandb, "init", lambda **settings: Broken())
  with pytest.raises(KeyError), metrics.MetricsWriter(path, wandb_mode="offline") as writer:
    for step in (1, 2):
      writer.write(step, {"train/reward": 0.5})
    raise KeyError
  assert codes == [1]
  assert [line["step"] for line in metrics.read(path)] == [1, 2]


def test_wandb_is_not_imported_when_disabled():
  code = "import sys, agentrl.training.metrics; sys.exit('wandb' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_wandb_mode_is_named(path):
  with pytest.raises(ValueError, match=r"no wandb.mode is called 'on': .*known: disabled, offline, online"):
    metrics.MetricsWriter(path, wandb_mode="on")
