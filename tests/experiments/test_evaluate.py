"""The evaluation command, on checkpoints of a run and on a folder as other libraries write it."""

import dataclasses
import json

import jax
import pytest

from agentrl.models import transformer
from agentrl.models.tokenizer import Tokenizer
from agentrl.models.weights import hf
from agentrl.training import evaluation, loop, metrics
from experiments import evaluate, train
from tests.experiments.conftest import FILE


@pytest.fixture
def same_parts(tiny_experiment, monkeypatch):
  monkeypatch.setattr(evaluation, "build_experiment", lambda config: tiny_experiment())


@pytest.fixture(scope="module")
def run_of_all(tmp_path_factory, tiny_experiment):
  """The folder of a run, which an evaluation leaves as it is."""
  folder = tmp_path_factory.mktemp("evaluated")
  (folder / "tiny.py").write_text(FILE)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop, "build_experiment", lambda config: tiny_experiment())
    assert train.main(["--config", str(folder / "tiny.py"), "--workdir", str(folder / "run")]) == 0
  return folder / "run"


@pytest.fixture
def finished_run(run_of_all, same_parts, capsys):
  capsys.readouterr()
  return run_of_all


def test_the_latest_checkpoint_has_the_numbers_of_the_last_evaluation(finished_run, tmp_path, capsys):
  assert evaluate.main(["--run", str(finished_run), "--out", str(tmp_path / "out.json")]) == 0
  got, last = json.loads((tmp_path / "out.json").read_text()), metrics.read(finished_run / "metrics.jsonl")[-1]
  assert got["step"] == last["step"] == 5
  names = [name for name in got if name.startswith("eval/")]
  assert len(names) > 3 and {n: got[n] for n in names} == {n: last[n] for n in names}
  table = capsys.readouterr().out
  assert "success" in table and "tool_calls" in table


def test_another_checkpoint_and_other_numbers_of_tasks(finished_run, tmp_path):
  argv = ["--run", str(finished_run), "--step", "2", "--tasks", "3", "--samples", "2", "--temperature", "0"]
  assert evaluate.main([*argv, "--out", str(tmp_path / "out.json")]) == 0
  got = json.loads((tmp_path / "out.json").read_text())
  assert got["step"] == 2 and got["eval/tasks"] == 3 and "eval/pass@2" in got


def test_an_evaluation_all_of_whose_environments_fail_is_no_success(config_file, tiny_experiment, monkeypatch, capsys):
  def away():
    raise OSError("the database is away")

  parts = tiny_experiment()
  tasks = dataclasses.replace(parts.tasks, environment=away)
  parts = dataclasses.replace(parts, collector=dataclasses.replace(parts.collector, tasks=tasks))
  monkeypatch.setattr(evaluation, "build_experiment", lambda config: parts)
  assert evaluate.main(["--config", str(config_file), "--config.rollout.max_failed_share=1.0"]) == 1
  error = capsys.readouterr().err
  assert "EnvironmentsFailed: evaluation: of 2 trajectories 2 of the environments failed" in error
  assert "the database is away" in error


def test_a_folder_of_weights(config_file, tmp_path):
  tokenizer = Tokenizer.byte_level()
  model = transformer.ModelConfig(
    vocab_size=tokenizer.vocab_size, width=32, layers=1, heads=2, kv_heads=1, head_dim=16, ffn=48
  )
  hf.save(tmp_path / "model", model, transformer.init_params(jax.random.key(0), model))
  tokenizer.save(tmp_path / "model" / "tokenizer.json")
  argv = ["--config", str(config_file), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out.json")]
  assert evaluate.main(argv) == 0
  assert json.loads((tmp_path / "out.json").read_text())["eval/tasks"] == 2


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    (["--run", "{tmp}/nothing"], "holds no run"),
    (["--run", "{tmp}/damaged"], "config.json is damaged, it holds no JSON"),
    (["--run", "{tmp}", "--out", "{tmp}/nowhere/out.json"], "there is no folder"),
    (["--run", "{tmp}", "--model", "x"], "--model goes with --config"),
    (["--config", "{tmp}/tiny.py", "--step", "3"], "--step needs --run"),
    (["--config", "{tmp}/tiny.py", "--model", "{tmp}/nothing"], "nothing"),
    (["--config", "{tmp}/tyni.py"], "did you mean"),
  ],
)
def test_errors_are_one_message(config_file, tmp_path, capsys, argv, message, tiny_experiment, monkeypatch):
  if "--step" in argv:
    monkeypatch.setattr(evaluation, "build_experiment", lambda config: tiny_experiment())
  (tmp_path / "damaged").mkdir()
  (tmp_path / "damaged" / "config.json").write_text('{"seed": ')
  assert evaluate.main([word.format(tmp=tmp_path) for word in argv]) == 1
  error = capsys.readouterr().err
  assert message in error and "Traceback" not in error


def test_how_a_run_is_evaluated_may_be_changed_and_nothing_else(finished_run, tmp_path, capsys):
  out = ["--out", str(tmp_path / "out.json")]
  assert evaluate.main(["--run", str(finished_run), "--config.eval.tasks=3", "--config.search.width=2", *out]) == 0
  assert json.loads((tmp_path / "out.json").read_text())["eval/tasks"] == 3
  assert evaluate.main(["--run", str(finished_run), "--config.seed=3"]) == 1
  assert "--config.seed=3 goes with --config; of a run, which has its own config, " in capsys.readouterr().err


def test_a_step_that_is_not_there_is_told_with_those_that_are(finished_run, capsys):
  assert evaluate.main(["--run", str(finished_run), "--step", "9"]) == 1
  assert "no checkpoint of step 9; there are those of steps [1, 2, 4, 5]" in capsys.readouterr().err


def test_success_with_and_without_search_stand_beside_each_other(tiny_config, capsys):
  values = {"success": 0.25, "success_low": 0.125, "success_high": 0.5, "generated_tokens": 12.0}
  searched = {"success": 0.75, "success_low": 0.5, "success_high": 0.875, "generated_tokens": 480.0}
  metrics = {f"eval/{k}": v for k, v in values.items()} | {f"eval_search/{k}": v for k, v in searched.items()}
  evaluate.show(metrics, tiny_config)
  rows = [" ".join(word for word in line.split() if word not in "│┃") for line in capsys.readouterr().out.splitlines()]
  assert "success 0.25 (95 %: 0.125 to 0.5)" in rows and "generated_tokens 12" in rows
  assert "eval_search/success 0.75 (95 %: 0.5 to 0.875)" in rows and "eval_search/generated_tokens 480" in rows
