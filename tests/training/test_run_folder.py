"""A run folder goes on with its own run, and refuses everything else in words."""

import errno
import gzip
import json
import multiprocessing
import os
import platform
import sys

import jax
import pytest

from agentrl.training import config_values, metrics
from agentrl.training.checkpoint import CheckpointError
from agentrl.training.defaults import run_config
from agentrl.training.run_folder import RunFolder, RunFolderError, read_config
from tests.training.test_trajectory_rows import TASK, Bytes, make_trajectory


def make_config(**values):
  return run_config(values, where="test")


def last_start(path):
  return json.loads((path / "run.json").read_text())["starts"][-1]


def test_a_new_folder_records_config_and_machine(tmp_path):
  with RunFolder.open(tmp_path / "a" / "run", make_config()) as folder:
    assert {p.name for p in folder.path.iterdir()} >= {
      "config.json",
      "run.json",
      "trajectories",
      "checkpoints",
      "figures",
    }
    assert config_values.from_json((folder.path / "config.json").read_text()) == make_config()
    record = json.loads((folder.path / "run.json").read_text())
  (start,) = record["starts"]
  assert record["id"] == folder.id
  assert start["versions"]["jax"] == jax.__version__
  assert start["machine"]["cores"] >= 1
  assert len(start["commit"]) >= 40


def test_the_same_command_goes_on(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as first:
    first.write_metrics(1, {"a/b": 1})
  with RunFolder.open(tmp_path, make_config()) as second:
    second.write_metrics(2, {"a/b": 2})
  assert second.id == first.id
  assert len(json.loads((tmp_path / "run.json").read_text())["starts"]) == 2
  assert [line["step"] for line in metrics.read(tmp_path / "metrics.jsonl")] == [1, 2]


def test_a_folder_without_results_takes_another_config(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    (folder.checkpoints / "train").mkdir()  # where checkpoints would be
  RunFolder.open(tmp_path, make_config(seed=99)).close()
  assert json.loads((tmp_path / "config.json").read_text())["seed"] == 99


def test_another_config_is_refused_key_by_key(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.write_metrics(1, {"a/b": 1})
  with pytest.raises(RunFolderError) as error:
    RunFolder.open(tmp_path, make_config(algo={"kl_coef": 0.3}, reward={"correct": 1.0}, wandb={"project": "mine"}))
  message = str(error.value)
  assert "algo.kl_coef: there 0.0, now 0.3" in message
  assert "reward.correct: there '(absent)', now 1.0" in message
  assert "seed" not in message and "wandb" not in message
  assert "choose another --workdir" in message
  assert json.loads((tmp_path / "config.json").read_text())["wandb"]["project"] == "agentrl"
  RunFolder.open(tmp_path, make_config()).close()


def test_settings_that_move_no_number_may_change_and_the_change_is_recorded(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.write_metrics(1, {"a/b": 1})
  assert last_start(tmp_path)["changed"] == {}
  changed = make_config(rollout={"workers": 2}, hosting={"start_seconds": 9.0}, train={"steps": 7})
  RunFolder.open(tmp_path, changed).close()
  record = {"rollout.workers": [8, 2], "hosting.start_seconds": [60.0, 9.0], "train.steps": [100, 7]}
  assert last_start(tmp_path)["changed"] == record
  assert read_config(tmp_path) == changed
  RunFolder.open(tmp_path, changed).close()
  assert last_start(tmp_path)["changed"] == {}


def test_how_many_steps_are_done_is_read_from_the_checkpoints(tmp_path):
  config = make_config(optimizer={"schedule": "cosine"}, train={"steps": 9})
  with RunFolder.open(tmp_path, config) as folder:
    folder.write_metrics(1, {"a/b": 1})
  longer = make_config(optimizer={"schedule": "cosine"}, train={"steps": 12})
  RunFolder.open(tmp_path, longer).close()
  (tmp_path / "checkpoints" / "train" / "4").mkdir(parents=True)
  (tmp_path / "checkpoints" / "train" / "5.orbax-checkpoint-tmp").mkdir()
  with pytest.raises(RunFolderError, match=r"train.steps: there 12, now 9: .*'cosine' .*4 steps were made"):
    RunFolder.open(tmp_path, config)


def test_a_refused_config_is_told_how_to_keep_the_cold_start(tmp_path):
  for steps, advice in (((), False), (("7",), True)):
    with RunFolder.open(tmp_path, make_config(cold_start={"steps": 9})) as folder:
      folder.write_metrics(1, {"a/b": 1})
      for step in steps:
        (folder.checkpoints / "cold_start" / step).mkdir(parents=True)
    with pytest.raises(RunFolderError, match="choose another --workdir") as error:
      RunFolder.open(tmp_path, make_config(seed=1, cold_start={"steps": 9}))
    assert (f"--config.cold_start.run={tmp_path}" in str(error.value)) == advice


def test_a_key_that_is_newer_than_the_run_may_have_its_default_and_nothing_else(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.write_metrics(1, {"a/b": 1})
  old = json.loads((tmp_path / "config.json").read_text())
  del old["cold_start"]["run"]
  (tmp_path / "config.json").write_text(json.dumps(old))
  with pytest.raises(RunFolderError, match=r"cold_start.run: there '', now 'x'"):
    RunFolder.open(tmp_path, make_config(cold_start={"run": "x"}))
  RunFolder.open(tmp_path, make_config()).close()


def test_results_without_a_config_take_none(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.write_metrics(1, {"a/b": 1})
  (tmp_path / "config.json").unlink()
  with pytest.raises(RunFolderError, match=r"no config.json that says with which settings .*: put it back, or choose"):
    RunFolder.open(tmp_path, make_config(optimizer={"learning_rate": 1.0}))
  assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
  ("name", "content", "words"),
  [
    ("config.json", b'{"seed": 0', "config.json is damaged, it holds no JSON .*put it back from a copy"),
    ("config.json", b"[]", "config.json is damaged, it holds no config"),
    ("run.json", b"\xff\x00", "run.json is damaged, it holds no JSON .*remove it, and the run goes on"),
    ("run.json", b'{"starts": []}', "run.json is no record of a run: remove it, and the run goes on"),
    ("run.json", b"3", "run.json is no record of a run"),
    ("metrics.jsonl", b'{"step": 1, "wall_s": 0}\n{"step\n', "metrics.jsonl is damaged, line 2 is not JSON"),
    ("metrics.jsonl", b"[1]\n", "metrics.jsonl is damaged, line 1 holds no step and time"),
    ("metrics.jsonl", b'{"step": "1", "wall_s": 0}\n', "metrics.jsonl is damaged, line 1 holds no step and time"),
  ],
)
def test_a_damaged_file_is_named_with_what_to_do_and_nothing_is_overwritten(tmp_path, name, content, words):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.write_metrics(1, {"a/b": 1})
  (tmp_path / name).write_bytes(content)
  with pytest.raises((RunFolderError, ValueError), match=words):
    RunFolder.open(tmp_path, make_config())
  assert (tmp_path / name).read_bytes() == content


def test_run_json_may_be_removed(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.write_metrics(1, {"a/b": 1})
  (tmp_path / "run.json").unlink()
  RunFolder.open(tmp_path, make_config()).close()
  assert len(json.loads((tmp_path / "run.json").read_text())["starts"]) == 1


def test_metrics_with_a_gap_are_refused_and_kept(tmp_path):
  file = tmp_path / "metrics.jsonl"
  with RunFolder.open(tmp_path, make_config()) as folder:
    for step in range(5):
      folder.write_metrics(step, {"a/b": step})
  whole = file.read_bytes()
  lines = whole.splitlines(keepends=True)
  for damaged, missing in ((lines[:3], 3), (lines[:2] + lines[3:], 2), (lines[1:], 0), ([], 0)):
    file.write_bytes(b"".join(damaged))
    with RunFolder.open(tmp_path, make_config()) as folder:
      with pytest.raises(RunFolderError, match=f"lacks the metrics of step {missing}, .* go on from step 3: put"):
        folder.truncate_metrics(3)
    assert file.read_bytes() == b"".join(damaged)
  file.write_bytes(whole)
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.truncate_metrics(3)
  assert file.read_bytes() == b"".join(lines[:4])


def test_the_checkpoints_to_remove_are_named_by_their_folders(tmp_path):
  with RunFolder.open(tmp_path, make_config(cold_start={"steps": 2})) as folder:
    for name in ("cold_start/1", "cold_start/2", "train/2", "train/10"):
      (folder.checkpoints / name).mkdir(parents=True)
    for missing, told in ((2, "cold_start/2, checkpoints/train/2"), (5, "train/10"), (4, "train/2")):
      (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {s}, "wall_s": 0}}\n' for s in range(missing)))
      with pytest.raises(RunFolderError, match=f"the later checkpoints, checkpoints/{told}, .*the run repeats"):
        folder.truncate_metrics(12)


@pytest.mark.parametrize(
  ("settings", "first"),
  [
    ({}, 4),
    ({"cold_start": {"steps": 3}}, 3),
    ({"cold_start": {"steps": 9}}, 4),
    ({"cold_start": {"steps": 3, "run": "x"}}, 7),
  ],
)
def test_a_run_that_lost_its_checkpoints_does_not_write_over_its_metrics(tmp_path, settings, first):
  config = make_config(train={"checkpoint_every": 4}, **settings)
  with RunFolder.open(tmp_path, config) as folder:
    folder.write_metrics(first, {"a/b": 1})  # killed before its first checkpoint was whole
  with RunFolder.open(tmp_path, config) as folder:
    folder.write_metrics(first + 1, {"a/b": 1})
  with pytest.raises(RunFolderError, match=rf"metrics up to step {first + 1}, and no checkpoint to go on from: put"):
    RunFolder.open(tmp_path, config)
  (tmp_path / "checkpoints" / "train" / "4").mkdir(parents=True)
  RunFolder.open(tmp_path, config).close()


def test_a_run_may_begin_with_a_later_step_or_before_any_line(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.truncate_metrics(2, first=2)
    folder.write_metrics(2, {"a/b": 1})
    folder.write_metrics(3, {"a/b": 1})
    folder.truncate_metrics(3, first=2)
    with pytest.raises(RunFolderError, match="step 0"):
      folder.truncate_metrics(3)


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path, monkeypatch):
  (tmp_path / "file").write_text("")
  with pytest.raises(RunFolderError, match=r"run cannot be written: Not a directory: .*choose another --workdir"):
    RunFolder.open(tmp_path / "file" / "run", make_config())

  def read_only(*_):
    raise OSError(errno.EROFS, "Read-only file system")

  RunFolder.open(tmp_path / "run", make_config()).close()
  for name in ("fsync", "replace"):
    with (
      monkeypatch.context() as patch,
      pytest.raises(RunFolderError, match="cannot be written: Read-only file system"),
    ):
      patch.setattr(os, name, read_only)
      RunFolder.open(tmp_path / "run", make_config())
  RunFolder.open(tmp_path / "run", make_config()).close()  # and none of them holds the lock


def test_a_path_where_checkpoints_could_not_be_read_back_is_refused_before_the_run(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for path in ("gs://bucket/run", "runs/[1]"):
    with pytest.raises(CheckpointError, match="choose another folder"):
      RunFolder.open(path, make_config())
  assert not any(tmp_path.iterdir())


def test_a_closed_folder_says_nowhere_whose_machine_it_was_on(tmp_path, monkeypatch):
  monkeypatch.setattr(platform, "node", lambda: "name-of-the-host")
  monkeypatch.setenv("HOME", "/home/somebody")
  monkeypatch.setattr(sys, "argv", ["/home/somebody/experiments/train.py", "--workdir=/home/somebody/runs/x"])
  with RunFolder.open(tmp_path / "run", make_config()) as folder:
    assert "on name-of-the-host" in (tmp_path / "run" / ".lock").read_text()
    folder.write_metrics(1, {"a/b": 1})
  files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
  assert len(files) >= 4
  for file in files:
    assert not any(word in file.read_text() for word in ("name-of-the-host", "somebody", str(tmp_path))), file
  assert last_start(tmp_path / "run")["command"] == ["~/experiments/train.py", "--workdir=~/runs/x"]


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
  (tmp_path / "thesis.tex").write_text("")
  with pytest.raises(RunFolderError, match="holds no run"):
    RunFolder.open(tmp_path, make_config())
  with pytest.raises(RunFolderError, match="is a file"):
    RunFolder.open(tmp_path / "thesis.tex", make_config())
  assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def _open_elsewhere(path, queue):
  try:
    RunFolder.open(path, make_config()).close()
    queue.put("opened")
  except RunFolderError as error:
    queue.put(str(error))


def test_two_processes_cannot_share_a_folder(tmp_path):
  context = multiprocessing.get_context("spawn")
  queue = context.Queue()
  with RunFolder.open(tmp_path, make_config()):
    process = context.Process(target=_open_elsewhere, args=(tmp_path, queue))
    process.start()
    message = queue.get(timeout=60)
    process.join()
  assert f"{tmp_path} is in use by another process (pid " in message
  RunFolder.open(tmp_path, make_config()).close()


def test_truncating_forgets_later_steps(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    for step in (0, 1, 2):
      folder.write_metrics(step, {"a/b": step})
      folder.save_trajectories(step, [make_trajectory()], {1: TASK}, Bytes(), evaluation=step == 2)
    folder.truncate_metrics(1)
    folder.write_metrics(2, {"a/b": 5})
  assert [line["a/b"] for line in metrics.read(tmp_path / "metrics.jsonl")] == [0, 1, 5]
  names = sorted(p.name for p in (tmp_path / "trajectories").iterdir())
  assert names == ["train_000000.jsonl.gz", "train_000001.jsonl.gz"]


def test_trajectories_are_written_by_uid_up_to_the_limit(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    trajectories = [make_trajectory(uid) for uid in (5, 2, 9)]
    path = folder.save_trajectories(4, trajectories, {1: TASK}, Bytes(), evaluation=True, limit=2)
  assert path.name == "eval_000004.jsonl.gz"
  rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
  assert [row["uid"] for row in rows] == [2, 5]


def test_trees_are_written_by_step_and_uid_and_forgotten_with_their_step(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.save_trees(1, [{"uid": 5}, {"uid": 12}])
    folder.save_trees(2, [{"uid": 5}], evaluation=True)
    assert json.loads((tmp_path / "trees" / "eval_000002_5.json").read_text()) == {"uid": 5}
    (tmp_path / "trees" / "eval_000002_5.html").write_text("its page")
    folder.truncate_metrics(1, first=1)
  assert sorted(p.name for p in (tmp_path / "trees").iterdir()) == ["train_000001_12.json", "train_000001_5.json"]


def test_files_of_others_and_what_a_kill_left_half_written_stop_no_run(tmp_path):
  (tmp_path / ".DS_Store").write_text("a desktop's")
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.write_metrics(0, {"a/b": 1})
    folder.save_trees(1, [{"uid": 5}])
    for name in (".train_000001_6.json.tmp", ".DS_Store", "notes.txt", "train_me.txt"):
      (tmp_path / "trees" / name).write_text("")
    (tmp_path / "trajectories" / ".eval_000001.jsonl.gz.tmp").write_text("")
    (tmp_path / "trajectories" / ".DS_Store").write_text("")
    folder.truncate_metrics(0)
  assert sorted(p.name for p in (tmp_path / "trees").iterdir()) == [".DS_Store", "notes.txt", "train_me.txt"]
  assert [p.name for p in (tmp_path / "trajectories").iterdir()] == [".DS_Store"]


def test_a_run_that_is_older_than_a_key_has_its_default(tmp_path):
  wanted = run_config({"seed": 3, "reward": {"correct": 1.0}}, where="test")
  old = wanted.to_dict()
  del old["eval"]["search"], old["algo"]["kl_coef"]
  (tmp_path / "config.json").write_text(json.dumps(old))
  assert read_config(tmp_path) == wanted
  (tmp_path / "config.json").write_text(json.dumps(old | {"forgotten": 1}))
  with pytest.raises(
    config_values.ConfigError, match=r"config.json: unknown config key 'forgotten'.*the version of agent"
  ):
    read_config(tmp_path)
  (tmp_path / "config.json").write_text(json.dumps(old | {"algorithm": "gone"}))
  with pytest.raises(
    config_values.ConfigError, match=r"gone.*the version of agentrl that started this run can read it"
  ):
    read_config(tmp_path)
