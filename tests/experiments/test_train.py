"""The training command: what it prints and returns, also when something is wrong."""

import dataclasses
import gzip
import json
import re
import shutil

import pytest

from agentrl.ops.finite import NonFinite
from agentrl.training import loop, metrics
from agentrl.training.command_line import ENDED
from agentrl.training.config import load
from agentrl.training.run_folder import RunFolder
from experiments import train


def command(config_file, workdir, *more):
  return ["--config", str(config_file), "--workdir", str(workdir), *more]


@pytest.fixture
def fails(capsys, tmp_path):
  """`fails(argv)` runs a command that must fail in one message, and returns the message."""

  def run(argv):
    assert train.main(argv) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error

  return run


def test_a_run_ends_with_its_result_and_a_report(config_file, tmp_path, compiled_once, capsys):
  assert train.main(command(config_file, tmp_path / "run")) == 0
  out = capsys.readouterr().out
  report = (tmp_path / "run" / "report.html").read_text()
  assert "Held-out success" in out and "report.html" in out
  assert report.lower().startswith("<!doctype html>") and 'src="http' not in report  # self-contained
  assert (tmp_path / "run" / "figures").is_dir()


def test_started_again_it_is_done_at_once(config_file, tmp_path, compiled_once, capsys, monkeypatch):
  assert train.main(command(config_file, tmp_path / "run")) == 0
  before = (tmp_path / "run" / "metrics.jsonl").read_text()
  monkeypatch.setattr(loop.Trainer, "_step", None)  # a call would be an error
  capsys.readouterr()
  assert train.main(command(config_file, tmp_path / "run", "--traceback")) == 0
  told = capsys.readouterr().err
  assert "This run is finished: all 5 steps are done" in told
  # What is advised is what the folder accepts: more steps where the rate does not depend on their number.
  assert ("--config.train.steps is larger than" in told) == (load(config_file, []).optimizer.schedule == "constant")
  assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_an_interrupted_run_says_how_to_go_on_and_does(config_file, tmp_path, compiled_once, capsys, monkeypatch):
  step, calls = loop.Trainer._step, []

  def interrupted(*arguments):
    calls.append(None)
    if len(calls) == 4:
      raise KeyboardInterrupt
    return step(*arguments)

  with monkeypatch.context() as patch:
    patch.setattr(loop.Trainer, "_step", interrupted)
    assert train.main(command(config_file, tmp_path / "run")) == 130
  assert (
    f"The same command goes on in {tmp_path / 'run'}: behind the last checkpoint, or anew without one."
    in capsys.readouterr().err
  )
  assert [line["step"] for line in metrics.read(tmp_path / "run" / "metrics.jsonl")] == [0, 1, 2, 3]
  assert train.main(command(config_file, tmp_path / "run")) == 0
  assert [line["step"] for line in metrics.read(tmp_path / "run" / "metrics.jsonl")] == [0, 1, 2, 3, 4, 5]


class Away:
  """An environment that is there for the cold start alone."""

  def __init__(self, inner, first):
    self._inner, self._first = inner, first
    self.tools, self.step, self.close = inner.tools, inner.step, inner.close

  def reset(self, task, seed):
    if "-train-" in task.id and seed >= self._first:
      raise OSError("the database is away")
    return self._inner.reset(task, seed)


def test_a_run_all_of_whose_environments_fail_is_no_success(fails, config_file, tmp_path, tiny_experiment, monkeypatch):
  parts = tiny_experiment()
  inner = parts.tasks.environment
  tasks = dataclasses.replace(parts.tasks, environment=lambda: Away(inner(), 8))
  collector = dataclasses.replace(parts.collector, tasks=tasks)
  monkeypatch.setattr(
    loop, "build_experiment", lambda _: dataclasses.replace(tiny_experiment(), tasks=tasks, collector=collector)
  )
  for _ in range(2):
    error = fails(command(config_file, tmp_path / "run", "--config.rollout.max_failed_share=1.0"))
    assert "NothingToTrainOn: none of the 3 steps of the stage 'train' had anything to train on" in error
    assert error.index("NothingToTrainOn: ") < error.index(f"Report: {tmp_path / 'run' / 'report.html'}\n")
  assert "step without anything to train on" in (tmp_path / "run" / "report.html").read_text()
  rows = (tmp_path / "run" / "trajectories" / "train_000003.jsonl.gz").read_bytes()
  failure = json.loads(gzip.decompress(rows).splitlines()[0])["failure"]
  assert failure["kind"] == "raised"
  assert re.fullmatch(r"OSError: the database is away \(test_train\.py, line \d+, in reset\)", failure["reason"])


def test_a_missing_config_names_the_nearest(fails, config_file, tmp_path):
  error = fails(command(tmp_path / "tinny.py", tmp_path / "run"))
  assert f"there is no config file {tmp_path / 'tinny.py'}; did you mean {config_file}?" in error
  assert not (tmp_path / "run").exists()


def test_a_wrong_key_names_the_nearest(fails, config_file, tmp_path):
  error = fails(command(config_file, tmp_path / "run", "--config.optimizer.learningrate=1e-3"))
  assert "'optimizer.learningrate'" in error and "'optimizer.learning_rate'" in error
  assert not (tmp_path / "run").exists()


def test_another_config_in_the_same_folder_is_refused(fails, config_file, tmp_path, monkeypatch):
  def stops_after_a_step(config, folder):
    folder.write_metrics(1, {"a/b": 1})
    raise ValueError("stopped")

  monkeypatch.setattr(loop, "run", stops_after_a_step)
  fails(command(config_file, tmp_path / "run"))
  error = fails(command(config_file, tmp_path / "run", "--config.seed=7"))
  assert "another config" in error and "seed: there 0, now 7" in error and "--workdir" in error
  assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 0


@pytest.mark.parametrize(
  ("override", "message"),
  [
    ("--config.model.source=hf", "model.path"),
    ("--config.task.family=arithmetics", "tiny.py: task: "),
    ("--config.task.tool=calculater", "calculator"),
    ("--config.algorithm=gpro", "did you mean 'grpo'"),
    ("--config.algo.loss.clip_hi=0.3", "algo.loss.clip_hi"),
    ("--config.algo.credit=grop", "grpo"),
    ("--config.optimizer.schedule=cosin", "cosine"),
    ("--config.filters=('flat_group',)", "flat_groups"),
    ("--config.chat.style=tag", "tags"),
    ("--config.pack.rows=0", "pack.rows=0 must be at least 1"),
    ("--config.train.eval_every=0", "train.eval_every=0 must be at least 1"),
    ("--config.rollout.max_tokens=129", "rollout.max_tokens=129 exceeds pack.row_tokens=128"),
    ("--config.engine.slots=0", "engine.slots"),
    ("--config.mesh.data=64", "mesh.data=64"),
  ],
)
def test_wrong_values_name_the_key_or_the_nearest_value(fails, config_file, tmp_path, override, message):
  assert message in fails(command(config_file, tmp_path / "run", override))


def test_a_mac_runs_no_code_and_says_why(mac, fails, config_file, tmp_path):
  error = fails(command(config_file, tmp_path / "run", "--config.task.tool=python"))
  assert "SandboxUnavailable: " in error and "guests need Linux on" in error and "this is Darwin on arm64" in error


def damage_config(folder):
  (folder / "config.json").write_text('{"seed": ')


def damage_record(folder):
  (folder / "run.json").write_text("[]")


def damage_metrics(folder):
  (folder / "metrics.jsonl").write_text("no JSON\n")


def lose_config(folder):
  (folder / "config.json").unlink()


def lose_metrics(folder):
  (folder / "metrics.jsonl").unlink()


def lose_room(folder):
  shutil.rmtree(folder / "trajectories")
  (folder / "trajectories").write_text("a file in its place")


def damage_checkpoint(folder):
  record = folder / "checkpoints" / "train" / "3" / "host" / "metadata"
  record.write_text(record.read_text().replace("next_group", "last_group"))


@pytest.mark.parametrize(
  ("happens", "words"),
  [
    (damage_config, "config.json is damaged, it holds no JSON"),
    (damage_record, "run.json is no record of a run: remove it"),
    (damage_metrics, "metrics.jsonl is damaged, line 1 is not JSON"),
    (lose_config, "no config.json that says with which settings"),
    (lose_metrics, "metrics.jsonl lacks the metrics of step 0"),
    (lose_room, "cannot be written"),
    (damage_checkpoint, "The one of step 2 is good: to go on from it, remove the folder"),
  ],
)
def test_whatever_happened_to_the_folder_is_one_message(
  fails, finished, config_file, tmp_path, compiled_once, happens, words
):
  shutil.copytree(finished, tmp_path / "run")
  happens(tmp_path / "run")
  assert words in fails(command(config_file, tmp_path / "run"))


@pytest.fixture(scope="module")
def finished(tiny_config, tiny_experiment, tmp_path_factory):
  """Folder of a run that went to its end."""
  path = tmp_path_factory.mktemp("finished") / "run"
  with pytest.MonkeyPatch.context() as patch, RunFolder.open(path, tiny_config) as folder:
    patch.setattr(loop, "build_experiment", lambda _: tiny_experiment())
    loop.run(tiny_config, folder)
  return path


@pytest.mark.parametrize("ended", ENDED)
def test_a_run_that_can_go_no_further_ends_with_a_message_a_status_and_a_report(
  fails, config_file, tmp_path, monkeypatch, ended
):
  def stops(config, folder):
    folder.write_metrics(0, {"eval/success": 0.25})
    raise ended("step 1: there is no going on")

  monkeypatch.setattr(loop, "run", stops)
  error = fails(command(config_file, tmp_path / "run"))
  report = tmp_path / "run" / "report.html"
  said = f"{ended.__name__}: step 1: there is no going on\nReport: {report}\n(--traceback shows where this came from)\n"
  assert error.endswith(said)
  assert "cold_start.batch" in report.read_text()
  with pytest.raises(ended) as raised:
    train.main(command(config_file, tmp_path / "run", "--traceback"))
  assert raised.value.__notes__ == [f"Report: {report}"]


def stops_at_once(folder):
  pass


def stops_on_metrics_that_break_off(folder):
  (folder.path / "metrics.jsonl").write_text("no JSON\n")


@pytest.mark.parametrize(
  ("happens", "told"),
  [(stops_at_once, "the run has not finished a step yet"), (stops_on_metrics_that_break_off, "is damaged")],
)
def test_what_ended_a_run_is_told_also_where_no_report_can_be_drawn(
  fails, config_file, tmp_path, monkeypatch, happens, told
):
  def stops(config, folder):
    happens(folder)
    raise NonFinite("step 1: gradient/policy/embed is not finite")

  monkeypatch.setattr(loop, "run", stops)
  error = fails(command(config_file, tmp_path / "run"))
  assert "NonFinite: step 1: gradient/policy/embed is not finite\nNo report was written: " in error and told in error
  assert not (tmp_path / "run" / "report.html").exists()


def test_wrong_settings_leave_the_report_as_it_is(fails, config_file, tmp_path, finished):
  shutil.copytree(finished, tmp_path / "run")
  error = fails(command(config_file, tmp_path / "run", "--config.seed=7"))
  assert "eport" not in error and not (tmp_path / "run" / "report.html").exists()


def test_smoke_asks_for_the_smoke_variant(tmp_path, monkeypatch):
  file = tmp_path / "sized.py"
  file.write_text(
    "from agentrl.training.defaults import run_config\n"
    "def get_config(smoke=False):\n"
    "  return run_config({'train': {'steps': 2 if smoke else 50}}, where=__file__)\n"
  )
  asked = []
  monkeypatch.setattr(loop, "run", lambda config, folder: asked.append(config.train.steps) or exit_early())
  for number, more in enumerate(([], ["--smoke"])):
    assert train.main(command(file, tmp_path / f"run{number}", *more)) == 1
  assert asked == [50, 2]


def exit_early():
  raise ValueError("enough")


def test_traceback_lets_the_error_through(config_file, tmp_path, monkeypatch):
  monkeypatch.setattr(loop, "run", lambda config, folder: exit_early())
  with pytest.raises(ValueError, match="enough"):
    train.main(command(config_file, tmp_path / "run", "--traceback"))
