"""The export command: a run's policy, read back from the folder that it wrote."""

import json

import jax
import numpy as np
import pytest

from agentrl.models.folder import read_tokenizer
from agentrl.models.weights import hf
from agentrl.training import export, saved
from experiments import export as command
from experiments import train


def test_an_exported_checkpoint_is_the_policy_of_the_run(
  config_file, tmp_path, compiled_once, tiny_experiment, monkeypatch, capsys
):
  monkeypatch.setattr(export, "open_tasks", lambda config: pytest.fail("an export needs no environment"))
  run, out = tmp_path / "run", tmp_path / "model"
  assert train.main(["--config", str(config_file), "--workdir", str(run)]) == 0
  assert command.main(["--run", str(run), "--out", str(out)]) == 0
  assert "step 5" in capsys.readouterr().out
  _, params = hf.load(out)
  parts = tiny_experiment()
  wanted, _ = saved.restore_policy(command.read_config(run), parts.params, run, None)
  for got, want in zip(jax.tree.leaves(params), jax.tree.leaves(wanted), strict=True):
    np.testing.assert_array_equal(got, want)
  for name in ("config.json", "generation_config.json"):
    assert json.loads((out / name).read_text())["eos_token_id"] == parts.chat.stop_tokens().tolist()
  assert read_tokenizer(out).vocab_size == parts.tokenizer.vocab_size
  assert command.main(["--run", str(run), "--out", str(out)]) == 1
  assert "already holds" in capsys.readouterr().err


def test_a_folder_without_a_run_says_so(tmp_path, capsys):
  assert command.main(["--run", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
  assert "holds no run" in capsys.readouterr().err


def test_a_damaged_run_is_one_message(tmp_path, capsys):
  (tmp_path / "config.json").write_text('{"seed": ')
  assert command.main(["--run", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
  error = capsys.readouterr().err
  assert "config.json is damaged, it holds no JSON" in error and "Traceback" not in error
