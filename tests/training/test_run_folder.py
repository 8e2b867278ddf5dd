"""A run folder goes on with its own run, and refuses everything else in words."""

import dataclasses
import gzip
import json
import multiprocessing

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from agentrl.training import config as config_lib
from agentrl.training import metrics
from agentrl.training.defaults import run_config
from agentrl.training.run_folder import RunFolder, RunFolderError, read_config, token_texts, trajectory_row
from agentrl.types import StopReason, Task, ToolCall, ToolResult, Trajectory, Turn, TurnKind, VisitShares


def make_config(**values):
  return config_lib.resolve(
    {}, ConfigDict({"seed": 0, "algo": {"clip": 0.2}, "lengths": (1, 2), **values}), where="test"
  )


class Bytes:
  """Tokens are bytes."""

  def decode(self, ids):
    return bytes(ids).decode(errors="replace")


def make_trajectory(uid=3, text="ab: é!", prompt=2):
  tokens = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
  sampled = np.arange(len(tokens)) >= prompt
  result = ToolResult(ToolCall("calculator", {"x": "1+1"}), "2", ok=True, seconds=0.25)
  turn = Turn(TurnKind.TOOL_CALL, prompt, len(tokens), text[prompt:], results=[result], observation="2")
  return Trajectory(
    tokens=tokens,
    action_mask=sampled,
    sampler_logp=np.where(sampled, -0.5, 0).astype(np.float32),
    entropy=np.where(sampled, 1.25, 0).astype(np.float32),
    turn=np.where(sampled, 0, -1).astype(np.int32),
    policy_version=np.where(sampled, 7, -1).astype(np.int32),
    turns=[turn],
    task_id="t",
    group_id=1,
    uid=uid,
    stop=StopReason.ANSWERED,
    reward_parts={"correct": 1.0},
    reward=1.0,
  )


TASK = Task(id="t", family="arithmetic", question="what is 1+1?", answer="2")


def test_a_new_folder_records_config_and_machine(tmp_path):
  with RunFolder.open(tmp_path / "a" / "run", make_config()) as folder:
    assert {p.name for p in folder.path.iterdir()} >= {
      "config.json",
      "run.json",
      "trajectories",
      "checkpoints",
      "figures",
    }
    assert config_lib.from_json((folder.path / "config.json").read_text()) == make_config()
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
  other = make_config()
  other.seed = 99
  RunFolder.open(tmp_path, other).close()
  assert json.loads((tmp_path / "config.json").read_text())["seed"] == 99


def test_another_config_is_refused_key_by_key(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.write_metrics(1, {"a/b": 1})
  with pytest.raises(RunFolderError) as error:
    RunFolder.open(tmp_path, make_config(algo={"clip": 0.3}, steps=5))
  message = str(error.value)
  assert "algo.clip: there 0.2, now 0.3" in message
  assert "steps: there '(absent)', now 5" in message
  assert "seed" not in message
  assert "choose another --workdir" in message
  RunFolder.open(tmp_path, make_config()).close()


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


def test_a_row_keeps_everything(tmp_path):
  row = json.loads(json.dumps(trajectory_row(make_trajectory(), TASK, Bytes())))
  assert row["tokens"] == list("ab: é!".encode())
  assert row["text"] == ["a", "b", ":", " ", "", "é", "!"]
  assert row["action_mask"] == [0, 0, 1, 1, 1, 1, 1]
  assert row["sampler_logp"] == [0, 0, -0.5, -0.5, -0.5, -0.5, -0.5]
  assert row["question"] == "what is 1+1?"
  assert row["stop"] == "answered"
  assert row["reward_parts"] == {"correct": 1.0}
  (turn,) = row["turns"]
  assert turn["results"] == [
    {"name": "calculator", "arguments": {"x": "1+1"}, "text": "2", "ok": True, "failure": None, "seconds": 0.25}
  ]


def test_a_branch_of_a_search_is_written_with_its_visits():
  assert trajectory_row(make_trajectory(), TASK, Bytes())["visits"] is None
  branch = dataclasses.replace(make_trajectory(), visits=VisitShares(0.25, 0.5, 3))
  assert trajectory_row(branch, TASK, Bytes())["visits"] == {"branch": 0.25, "path": 0.5, "path_tokens": 3}


def test_bytes_that_are_no_text_do_not_swallow_what_follows():
  assert "".join(token_texts([0xFF, *b"abcdef"], Bytes())) == "\ufffdabcdef"
  assert "".join(token_texts([*"x€".encode()][:-1], Bytes())) == "x\ufffd"


def test_a_failed_environment_is_written_as_none():
  import dataclasses

  failed = dataclasses.replace(make_trajectory(), stop=StopReason.ENVIRONMENT_FAILED, reward=None, reward_parts=None)
  row = trajectory_row(failed, TASK, Bytes())
  assert (row["stop"], row["reward"], row["reward_parts"]) == ("environment_failed", None, None)


def test_trees_are_written_by_step_and_uid_and_forgotten_with_their_step(tmp_path):
  with RunFolder.open(tmp_path, make_config()) as folder:
    folder.save_trees(1, [{"uid": 5}, {"uid": 12}])
    folder.save_trees(2, [{"uid": 5}], evaluation=True)
    assert json.loads((tmp_path / "trees" / "eval_000002_5.json").read_text()) == {"uid": 5}
    (tmp_path / "trees" / "eval_000002_5.html").write_text("its page")
    folder.truncate_metrics(1)
  assert sorted(p.name for p in (tmp_path / "trees").iterdir()) == ["train_000001_12.json", "train_000001_5.json"]


def test_a_run_that_is_older_than_a_key_has_its_default(tmp_path):
  wanted = run_config({"seed": 3, "reward": {"correct": 1.0}}, where="test")
  old = wanted.to_dict()
  del old["eval"]["search"], old["algo"]["kl_coef"]
  (tmp_path / "config.json").write_text(json.dumps(old))
  assert read_config(tmp_path) == wanted
  (tmp_path / "config.json").write_text(json.dumps(old | {"forgotten": 1}))
  with pytest.raises(config_lib.ConfigError, match=r"config.json: unknown config key 'forgotten'"):
    read_config(tmp_path)
