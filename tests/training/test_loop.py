"""A run from end to end: what it writes, and that stopping it anywhere changes no number."""

import dataclasses
import gzip
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.batching.pack import NothingToPack
from agentrl.rewards.combine import make_reward
from agentrl.rewards.contract import across_tasks
from agentrl.rollout.driver import Driver
from agentrl.rollout.strategies.independent import independent
from agentrl.training import config_values, loop, metrics, sources
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.evaluation import evaluate_policy
from agentrl.training.left_out import LeftOut
from agentrl.training.run_folder import RunFolder, RunFolderError
from agentrl.types import Failure, FailureKind, StopReason, Trajectory, Turn, TurnKind
from tests.training.conftest import numbers

TRAIN = pathlib.Path(__file__).parents[2] / "experiments" / "train.py"
TUNING = {"steps": 2, "batch": 3, "source": "probed", "probe": {"samples": 2}}
EVERY_STEP = {
  "train/reward", "train/success", "rollout/tool_calls", "rollout/turns", "rollout/void_turns", "rollout/length",
  "rollout/environment_failures", "rollout/tool_failures", "rollout/tokens_per_second", "rollout/kept_share",
  "reward/correct", "policy/loss", "policy/entropy", "policy/clipped_low", "policy/clipped_high", "optimizer/grad_norm",
  "sampler/logp_diff_mean", "sampler/logp_diff_max", "sampler/outside_0.9_1.1", "advantage/nonzero",
  "update/trajectories", "update/tokens", "update/tokens_per_second", "time/step_s",
}  # fmt: skip


def test_a_run_writes_what_the_report_reads(unbroken):
  path, result = unbroken
  lines = metrics.read(path / "metrics.jsonl")
  assert [line["step"] for line in lines] == [0, 1, 2, 3, 4, 5]
  assert all(line.keys() >= EVERY_STEP for line in lines[3:]), EVERY_STEP - lines[3].keys()
  assert [line["step"] for line in lines if "eval/success" in line] == [0, 2, 4, 5]
  assert not any("nonfinite" in line for line in lines)
  assert (path / "config.json").is_file() and (path / "run.json").is_file()
  names = {file.name for file in (path / "trajectories").iterdir()}
  assert names >= {"train_000002.jsonl.gz", "train_000004.jsonl.gz", "eval_000000.jsonl.gz", "eval_000005.jsonl.gz"}
  assert result.after["eval/success"] == lines[-1]["eval/success"]
  assert "Held-out success" in result.sentence() and "before RL" in result.sentence()


def test_sampler_and_trainer_are_the_same_policy(unbroken):
  lines = metrics.read(unbroken[0] / "metrics.jsonl")[3:]
  assert all(line["sampler/logp_diff_mean"] < 1e-4 for line in lines)
  assert all(line["sampler/outside_0.9_1.1"] == 0 for line in lines)
  assert any(line["policy/entropy"] > 0.1 for line in lines)  # there was something to differ in


def test_with_the_cold_start_of_another_run_it_gives_the_same_numbers(unbroken, tiny_config, tiny_experiment, tmp_path):
  config = config_values.resolve(tiny_config, {"cold_start": {"run": str(unbroken[0])}}, where="test")
  with pytest.MonkeyPatch.context() as patch, RunFolder.open(tmp_path / "run", config) as folder:
    patch.setattr(loop, "build_experiment", lambda _: tiny_experiment())
    loop.run(config, folder)
  taken, whole = numbers(tmp_path / "run"), numbers(unbroken[0])
  assert [line["step"] for line in taken] == [2, 3, 4, 5]
  assert taken[1:] == whole[-3:]
  assert taken[0] == {name: whole[2][name] for name in taken[0]}


def asked(path):
  """Groups and tasks that a run has sampled, by step."""
  rows = {}
  for file in sorted((path / "trajectories").glob("train_*")):
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    rows[int(file.name[6:12])] = {(line["group_id"], line["task_id"]) for line in lines}
  return rows


def test_stages_that_sample_ask_different_tasks_in_different_groups(run, tmp_path):
  rolls = {"source": "rollouts", "batch": 1}
  lines = run(tmp_path / "run", settings={"cold_start": rolls})
  found = asked(tmp_path / "run")
  assert found.keys() == {0, 1, 2, 3, 4} and all(len(pairs) == 2 for pairs in found.values())
  for side in (0, 1):
    assert len({pair[side] for pairs in found.values() for pair in pairs}) == 10
  again = run(tmp_path / "taker", settings={"cold_start": rolls | {"run": str(tmp_path / "run")}})
  assert asked(tmp_path / "taker") == {step: found[step] for step in (2, 3, 4)} and again[1:] == lines[3:]


class Stopped(Exception):
  """Stands for a kill."""


def stop_at(patch, owner, name, count):
  """Makes the `count`-th call (from 0) of a function raise instead."""
  function, calls = getattr(owner, name), []

  def counted(*args, **kwargs):
    calls.append(None)
    if len(calls) == count + 1:
      raise Stopped
    return function(*args, **kwargs)

  patch.setattr(owner, name, counted)


def test_a_stage_in_the_middle_begins_where_the_one_before_ended_and_goes_on(run, tiny_experiment, tmp_path):
  """Of probed demonstrations; stopped before it, within it and behind it the numbers are the same."""
  parts = tiny_experiment()
  parts = dataclasses.replace(parts, earlier={**parts.earlier, "tuning": parts.earlier["cold_start"]})

  def start(name):
    copied = dataclasses.replace(parts, params=jax.tree.map(jnp.copy, parts.params))
    return run(tmp_path / name, parts=copied, settings={"tuning": TUNING}, steps=1)

  whole = start("whole")
  assert [line["step"] for line in whole] == [0, 1, 2, 3, 4, 5]
  assert ["probe/known" in line for line in whole] == [False, False, False, True, True, False]
  for step in (2, 3, 4):
    with pytest.MonkeyPatch.context() as patch:
      stop_at(patch, loop.Trainer, "_step", step)
      with pytest.raises(Stopped):
        start(f"stopped before {step}")
    assert start(f"stopped before {step}") == whole


@pytest.mark.parametrize("step", range(5))
def test_stopped_before_any_step_it_goes_on_to_the_same_numbers(run, unbroken, tmp_path, step):
  with pytest.MonkeyPatch.context() as patch:
    stop_at(patch, loop.Trainer, "_step", step)
    with pytest.raises(Stopped):
      run(tmp_path / "run")
  assert len(numbers(tmp_path / "run")) == step + 1
  assert run(tmp_path / "run") == numbers(unbroken[0])


def seen_before(episodes, task, memory):
  """How often the task was asked, and the lengths of its earlier answers."""
  lengths = memory.setdefault("lengths", [])
  worth = float(len(lengths) + 1 + sum(lengths))
  lengths.append(len(episodes[0].tokens))
  return [worth] * len(episodes)


@across_tasks
def asked_before(episodes, task, memory):
  """How many groups came before, of whichever task."""
  memory["groups"] = memory.get("groups", 0) + 1
  return [float(memory["groups"])] * len(episodes)


@pytest.mark.parametrize(("function", "evaluated"), [(seen_before, 1.0), (asked_before, 1.5)])  # of two tasks
def test_what_reward_functions_remember_is_kept_with_the_run_and_left_alone_by_evaluations(
  run, tiny_experiment, tmp_path, function, evaluated
):
  """Every step asks the same two tasks; a run that was stopped goes on to the same memories and rewards."""

  def parts():
    made = tiny_experiment()
    tasks = dataclasses.replace(made.tasks, task=lambda index, split: made.tasks.task(index % 2, split))
    reward = make_reward({f"{__name__}:{function.__name__}": 1.0}, {})
    return dataclasses.replace(made, collector=dataclasses.replace(made.collector, tasks=tasks, reward=reward))

  whole = run(tmp_path / "whole", parts())
  with pytest.MonkeyPatch.context() as patch:
    stop_at(patch, loop.Trainer, "_step", 4)
    with pytest.raises(Stopped):
      run(tmp_path / "run", parts())
  assert run(tmp_path / "run", parts()) == whole
  rewards = [line["train/reward"] for line in whole if "train/reward" in line]
  assert rewards[0] == evaluated and rewards[0] < rewards[1] < rewards[2]
  assert {line[f"eval/reward/{function.__name__}"] for line in whole if "eval/success" in line} == {evaluated}


@pytest.mark.parametrize("save", [0, 1, 2])
def test_stopped_between_metrics_and_checkpoint_it_repeats_those_steps(run, unbroken, tmp_path, save):
  with pytest.MonkeyPatch.context() as patch:
    stop_at(patch, Checkpointer, "save", save)
    with pytest.raises(Stopped):
      run(tmp_path / "run", checkpoint_every=2)
  assert run(tmp_path / "run", checkpoint_every=2) == numbers(unbroken[0])


def test_a_finished_run_started_again_changes_nothing(run, unbroken, tmp_path):
  first = run(tmp_path / "run")
  files = sorted(file.name for file in (tmp_path / "run" / "trajectories").iterdir())
  assert run(tmp_path / "run") == first == numbers(unbroken[0])
  assert sorted(file.name for file in (tmp_path / "run" / "trajectories").iterdir()) == files


def without_evaluations(lines):
  return [{name: value for name, value in line.items() if not name.startswith("eval/")} for line in lines]


def test_settings_that_may_change_where_a_run_goes_on_move_no_number(run, unbroken, tiny_experiment, tmp_path):
  with pytest.MonkeyPatch.context() as patch:
    stop_at(patch, loop.Trainer, "_step", 3)
    with pytest.raises(Stopped):
      run(tmp_path / "run")
  parts = tiny_experiment()
  engine, pauses = parts.surroundings.engine, parts.chat.pause_table(parts.model.vocab_size)
  driver = Driver(parts.model, engine, pauses, mesh=parts.mesh, compiled=False)
  sampler = independent(dataclasses.replace(parts.surroundings, driver=driver))
  collector = dataclasses.replace(parts.collector, workers=1, sampler=sampler)
  settings = {"rollout": {"workers": 1, "compiled": False, "max_failed_share": 0.9, "environment_seconds": 50.0}}
  often = {"checkpoint_every": 3, "trajectories_every": 3, "eval_every": 1}
  lines = run(tmp_path / "run", dataclasses.replace(parts, collector=collector), settings, **often)
  assert without_evaluations(lines) == without_evaluations(numbers(unbroken[0]))
  assert [line["step"] for line in lines if "eval/success" in line] == [0, 2, 4, 5]


def test_a_run_that_is_given_more_steps_goes_on_to_the_numbers_of_a_longer_one(run, unbroken, tmp_path):
  endless = {"optimizer": {"schedule": "constant"}, "cold_start": {"schedule": "linear"}}
  short = run(tmp_path / "run", settings=endless, steps=1)
  assert [line["step"] for line in short] == [0, 1, 2, 3]
  longer = run(tmp_path / "run", settings=endless, steps=3)
  assert without_evaluations(longer) == without_evaluations(numbers(unbroken[0]))
  assert longer[-1] == numbers(unbroken[0])[-1]


def test_metrics_that_were_lost_stop_the_run_that_would_go_on_without_them(run, unbroken, tmp_path):
  run(tmp_path / "run", steps=3)
  (tmp_path / "run" / "metrics.jsonl").unlink()
  with pytest.raises(RunFolderError, match="lacks the metrics of step 0, and the run would go on from step 5"):
    run(tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "checkpoints")
  assert run(tmp_path / "run") == numbers(unbroken[0])


ROWS = {"pack": {"row_actions": 38}}  # a trajectory of 40 tokens may sample 39 of them


def test_a_run_that_begins_has_rows_for_the_longest_trajectory(run, tmp_path):
  with pytest.raises(ValueError, match=r"pack.row_actions=38 is too small .*: raise pack.row_actions to 39"):
    run(tmp_path / "run", settings=ROWS)
  with pytest.raises(ValueError, match=r"rollout.max_tokens=200 exceeds pack.row_tokens=128"):
    run(tmp_path / "run", settings={"rollout": {"max_tokens": 200}})
  assert not (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_run_of_before_that_rule_goes_on_and_can_be_read(run, unbroken, tiny_config, tmp_path):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop, "check_sizes", lambda rollout, pack: None)
    stop_at(patch, loop.Trainer, "_step", 3)
    with pytest.raises(Stopped):
      run(tmp_path / "run", settings=ROWS)
  assert run(tmp_path / "run", settings=ROWS) == numbers(unbroken[0])
  config = config_values.resolve(tiny_config, ROWS, where="test")
  assert evaluate_policy(config, run=tmp_path / "run", step=4)["step"] == 4


def test_a_mac_trains_to_the_same_numbers(mac, run, unbroken, tmp_path):
  assert run(tmp_path / "run") == numbers(unbroken[0])
  (start,) = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
  assert (start["machine"]["processor"], start["machine"]["cores"]) == ("arm64", os.cpu_count())


class Lost:
  """An environment whose `reset` fails once the service behind it is gone."""

  def __init__(self, inner, gone):
    self._inner, self._gone = inner, gone
    self.tools, self.step, self.close = inner.tools, inner.step, inner.close

  def reset(self, task, seed):
    if self._gone.is_set():
      raise OSError("the database is gone")
    return self._inner.reset(task, seed)


def test_failing_environments_end_the_run_with_its_checkpoint_kept(
  run, unbroken, tiny_experiment, tmp_path, monkeypatch
):
  gone, parts = threading.Event(), tiny_experiment()
  tasks = dataclasses.replace(parts.tasks, environment=lambda: Lost(parts.tasks.environment(), gone))
  parts = dataclasses.replace(parts, collector=dataclasses.replace(parts.collector, tasks=tasks))
  step = loop.Trainer._step

  def lose_them_in_the_second_step(trainer, stage, algorithm, source, at, *rest):
    if stage.name == "train" and at.step == 1:
      gone.set()
    return step(trainer, stage, algorithm, source, at, *rest)

  with monkeypatch.context() as patch:
    patch.setattr(loop.Trainer, "_step", lose_them_in_the_second_step)
    told = r"max_failed_share=0.5.*the first said.*the database is gone.*\nIts samples are in .*train_000003"
    with pytest.raises(RuntimeError, match=told):
      run(tmp_path / "run", parts)
  rows = gzip.decompress((tmp_path / "run" / "trajectories" / "train_000003.jsonl.gz").read_bytes()).splitlines()
  assert len(rows) == 4 and all("the database is gone" in json.loads(row)["failure"]["reason"] for row in rows)
  assert Checkpointer(tmp_path / "run" / "checkpoints" / "train").steps == [1]
  assert run(tmp_path / "run") == numbers(unbroken[0])


def test_environments_that_fail_are_told_when_their_number_has_doubled():
  failed = dataclasses.replace(
    trajectory(0, 0, None), stop=StopReason.ENVIRONMENT_FAILED, failure=Failure(FailureKind.RAISED, "no disk")
  )
  samples = sources.Samples([], [failed, trajectory(0, 1, 1.0)], {}, {}, {})
  told = "of 2 trajectories 1 of the environments failed (the first said: no disk), {} in all so far"
  notes = [loop._notes(samples, "", failed=(n, n + 1)) for n in range(4)]
  assert [[told.format(n + 1) in text for text in found] for n, found in enumerate(notes)] == [
    [True],
    [True],
    [],
    [True],
  ]


def test_tasks_that_were_left_out_are_a_reason_for_nothing_to_train_on():
  left_out = [LeftOut(3, "its prompt has 90 tokens"), LeftOut(4, "its prompt has 91 tokens")]
  samples = sources.Samples([], [], {}, {}, {}, left_out=left_out)
  told = "2 tasks were left out (the first: its prompt has 90 tokens); of 0 trajectories none failed, and 0 passed the "
  assert loop._nothing(samples, "").startswith(told)
  assert loop._notes(samples, "no task", failed=(0, 0))[-1] == "there was nothing to train on: no task"


def test_steps_that_no_checkpoint_has_are_told_and_repeated(run, unbroken, tmp_path, monkeypatch, capsys):
  step = loop.Trainer._step

  def killed_in_the_last(trainer, stage, algorithm, source, at, *rest):
    if stage.name == "train" and at.step == 2:
      raise KeyboardInterrupt
    return step(trainer, stage, algorithm, source, at, *rest)

  with monkeypatch.context() as patch:
    patch.setattr(loop.Trainer, "_step", killed_in_the_last)
    with pytest.raises(KeyboardInterrupt):
      run(tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "checkpoints" / "train")
  capsys.readouterr()
  assert run(tmp_path / "run") == numbers(unbroken[0])
  assert "Steps 3 to 4 were not in a checkpoint yet, and are repeated." in capsys.readouterr().err


# ---- dynamic sampling ------------------------------------------------------------------------------------------------


def trajectory(group, sample, reward):
  zeros, second = np.zeros(2, np.float32), np.asarray([-1, 0], np.int32)
  return Trajectory(
    tokens=np.zeros(2, np.int32), action_mask=second == 0, sampler_logp=zeros, entropy=zeros, turn=second,
    policy_version=second, turns=(Turn(TurnKind.VOID, 1, 2, ""),), task_id=f"t{group}", group_id=group,
    uid=2 * group + sample, stop=StopReason.ANSWERED, reward_parts={"correct": reward}, reward=reward,
  )  # fmt: skip


def test_a_step_without_anything_to_learn_from_is_a_step(run, tiny_experiment, tmp_path):
  parts, kept = tiny_experiment(), []

  def in_the_second_step_alone(trajectories):
    kept.append(parts.filter(trajectories) if len(kept) == 1 else [])
    return kept[-1]

  lines = run(tmp_path / "run", dataclasses.replace(parts, filter=in_the_second_step_alone))[3:]
  assert [line["update/trajectories"] > 0 for line in lines] == [False, True, False]
  assert [line["update/empty"] for line in lines] == [1, 0, 1]
  assert "policy/loss" in lines[1] and "policy/loss" not in lines[-1] and "train/reward" in lines[-1]


def test_a_run_that_never_had_anything_to_train_on_is_no_success(run, tiny_experiment, tmp_path, capsys):
  for _ in range(2):  # nor is it one when it is started again
    with pytest.raises(
      loop.NothingToTrainOn,
      match=r"none of the 3 steps of the stage 'train' had anything to train on.* Of the first step: of 4 trajectories",
    ):
      run(tmp_path / "run", dataclasses.replace(tiny_experiment(), filter=lambda trajectories: []))
  assert [line["update/empty"] for line in numbers(tmp_path / "run")[3:]] == [1, 1, 1]
  told = "Step 5: there was nothing to train on: of 4 trajectories none failed, and 0 passed the filters"
  assert told in capsys.readouterr().err


def test_an_algorithm_that_finds_nothing_to_learn_from_takes_no_step(run, tiny_experiment, tmp_path, capsys):
  parts = tiny_experiment()

  def prepare(state, trajectories):
    raise NothingToPack("every one was below algo.min_reward")

  picky = dataclasses.replace(parts, algorithm=parts.algorithm._replace(prepare=prepare))
  with pytest.raises(loop.NothingToTrainOn):
    run(tmp_path / "run", picky)
  assert [line["update/trajectories"] for line in numbers(tmp_path / "run")[3:]] == [0, 0, 0]
  assert "4 passed the filters; every one was below algo.min_reward" in capsys.readouterr().err


# ---- real kills ------------------------------------------------------------------------------------------------------

KILLED_RUN = """
from agentrl.training import config_values
from tests.training import tiny

def get_config(smoke=False):
  longer = {"cold_start": {"steps": 4}, "train": {"steps": 16, "checkpoint_every": 2, "eval_every": 4}}
  return config_values.resolve(tiny.make_config(), longer, where="x")
"""


@pytest.fixture
def launch(tmp_path):
  """`launch(name)` starts the command of a run in the folder `name`; `launch.finish(name)` lets it end."""
  (tmp_path / "config.py").write_text(KILLED_RUN)
  environment = {**os.environ, "PYTHONPATH": str(TRAIN.parents[1]), "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax")}

  def start(name):
    command = [sys.executable, TRAIN, "--config", tmp_path / "config.py", "--workdir", tmp_path / name]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

  def finish(name):
    process = start(name)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors.decode()

  start.finish = finish
  return start


def wait_for_lines(folder, count):
  deadline = time.monotonic() + 300
  while len(metrics.read(folder / "metrics.jsonl")) <= count and time.monotonic() < deadline:
    time.sleep(0.01)


@pytest.mark.slow
def test_killed_at_five_moments_it_ends_with_the_same_numbers(tmp_path, launch):
  launch.finish("unbroken")
  moments, killed = random.Random(0), 0
  for step in sorted(moments.sample(range(18), 5)):
    process = launch("killed")
    wait_for_lines(tmp_path / "killed", step)
    time.sleep(moments.uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    killed += process.returncode == -signal.SIGKILL
  assert killed == 5
  launch.finish("killed")
  assert numbers(tmp_path / "killed") == numbers(tmp_path / "unbroken")


@pytest.mark.slow
def test_interrupted_once_and_twice_it_says_so_and_goes_on_to_the_same_numbers(tmp_path, launch):
  launch.finish("unbroken")
  process = launch("stopped")
  wait_for_lines(tmp_path / "stopped", 7)
  process.send_signal(signal.SIGINT)
  told = process.communicate(timeout=120)[1].decode()
  assert process.returncode == 130
  assert f"\nInterrupted. The same command goes on in {tmp_path / 'stopped'}: behind the last checkpoint" in told
  assert "Traceback" not in told
  process = launch("stopped")
  wait_for_lines(tmp_path / "stopped", 11)
  for _ in range(40):  # whenever the second comes, while the first is handled or the process ends
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
  told = process.communicate(timeout=120)[1].decode()
  assert process.returncode in (130, -signal.SIGINT)
  assert "Traceback" not in told
  launch.finish("stopped")
  assert numbers(tmp_path / "stopped") == numbers(tmp_path / "unbroken")
