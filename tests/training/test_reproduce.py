"""Arms x seeds as processes: one cold start a seed, what is done is not repeated, and nothing outlives a kill.

A small script stands in for experiments/train.py: it writes what the schedule reads of a run folder.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from agentrl.training import config as config_lib
from agentrl.training import config_values, reproduce
from agentrl.training.redacted import redacted_config

PAPER = """

  BASE = {"cold_start": {"steps": 3}, "train": {"steps": 4}}
  ARMS = {
    "plain": {},
    "ppo": {"algorithm": "ppo", "optimizer": {"learning_rate": 1e-3}},
    "longer": {"cold_start": {"steps": 5}},
    "raw": {"cold_start": {"steps": 0}},
  }
"""
TRAINER = """
  import json, pathlib, sys, time

  _, _, config, _, workdir, *settings = sys.argv
  settings = dict(text.removeprefix("--config.").split("=", 1) for text in settings if "=" in text)
  workdir, arm, here = pathlib.Path(workdir), config.rpartition(":")[2], pathlib.Path(__file__).parents[1]
  with open(here / "started", "a") as file:
    file.write(f"{workdir.parent.name}/{workdir.name} {'cold' if settings.get('train.steps') == '0' else 'train'}\\n")
  if (here / f"breaks_{arm}").exists():
    sys.exit(f"{arm} cannot be trained")
  first = {"longer": 5, "raw": 0}.get(arm, 3)
  last = first + int(settings.get("train.steps", 4))
  if settings.get("cold_start.run"):
    assert (pathlib.Path(settings["cold_start.run"]) / "checkpoints/cold_start" / str(first)).is_dir()
  workdir.mkdir(parents=True, exist_ok=True)
  lines = [json.dumps({"step": step, "wall_s": 1.0}) for step in range(last + 1)]
  (workdir / "metrics.jsonl").write_text("\\n".join(lines[:-1]) + "\\n")
  while (here / f"waits_{arm}").exists():
    (here / "waiting").touch()
    time.sleep(0.05)
  (workdir / "metrics.jsonl").write_text("\\n".join(lines) + "\\n")
  if settings.get("train.steps") == "0":
    (workdir / "checkpoints/cold_start" / str(first)).mkdir(parents=True)
  if (here / f"learns_nothing_{arm}").exists():
    sys.exit(f"{arm} had nothing to train on")
"""


@pytest.fixture
def paper(tmp_path):
  file = tmp_path / "paper.py"
  file.write_text(textwrap.dedent(PAPER))
  return file


@pytest.fixture
def site(tmp_path, monkeypatch):
  """A checkout whose trainer is the script above; files of it steer what an arm does."""
  (tmp_path / "site" / "experiments").mkdir(parents=True)
  (tmp_path / "site" / "experiments" / "train.py").write_text(textwrap.dedent(TRAINER))
  monkeypatch.setattr(reproduce, "_ROOT", tmp_path / "site")
  monkeypatch.setattr(reproduce, "_POLL_S", 0.02)
  return tmp_path / "site"


def started(site):
  return (site / "started").read_text().splitlines() if (site / "started").exists() else []


def run_all(runs, jobs=2):
  finished = []
  reproduce.run_all(runs, jobs=jobs, finished=finished.append, shown=lambda working: None)
  return [f"{run.path.parent.name}/{run.path.name}" for run in finished]


def test_arms_with_the_same_cold_start_share_one_for_each_seed(paper, tmp_path):
  runs = reproduce.plan(paper, ["plain", "ppo", "longer", "raw"], [0, 1], tmp_path / "runs")
  assert [(run.path.relative_to(tmp_path / "runs").as_posix(), run.steps) for run in runs[:6]] == [
    ("cold_starts/plain/seed0", 3),
    ("plain/seed0", 7),
    ("ppo/seed0", 7),
    ("cold_starts/longer/seed0", 5),
    ("longer/seed0", 9),
    ("raw/seed0", 4),
  ]
  cold, plain, ppo, longer_cold, longer, raw = runs[:6]
  assert plain.begins_with == ppo.begins_with == cold and longer.begins_with == longer_cold and raw.begins_with is None
  assert f"--config.cold_start.run={cold.path}" in ppo.arguments and "--config.train.steps=0" in cold.arguments
  assert "--config.seed=1" in runs[6].arguments and len(runs) == 12


def test_tuning_is_of_the_arm_and_not_of_the_cold_start(tmp_path):
  tuned = '"tuned": {"tuning": {"steps": 2}}, "alone": {"cold_start": {"steps": 0}, "tuning": {"steps": 2}}, "plain"'
  file = tmp_path / "mine.py"
  file.write_text(textwrap.dedent(PAPER).replace('"plain"', tuned))
  cold, plain, tuned, alone = reproduce.plan(file, ["plain", "tuned", "alone"], [0], tmp_path)
  assert cold.is_cold_start and "--config.tuning.steps=0" in cold.arguments
  assert (cold.steps, plain.steps, tuned.steps, alone.steps) == (3, 7, 9, 6)
  assert plain.begins_with == tuned.begins_with == cold and alone.begins_with is None


def test_a_cold_start_is_the_same_whichever_arms_are_run(paper, tmp_path):
  (cold, ppo) = reproduce.plan(paper, ["ppo"], [0], tmp_path, overrides=["--config.eval.tasks=3"], smoke=True)
  assert cold.path == tmp_path / "cold_starts" / "plain" / "seed0" and cold.steps == 2 and ppo.steps == 4
  assert {"--smoke", "--config.eval.tasks=3"} <= set(ppo.arguments) & set(cold.arguments)


def test_a_setting_of_the_arms_that_are_run_need_not_fit_the_others(paper, tmp_path):
  (cold, ppo) = reproduce.plan(paper, ["ppo"], [0], tmp_path, overrides=["--config.algo.value_coef=0.3"])
  assert cold.path == tmp_path / "cold_starts" / "ppo" / "seed0" and ppo.begins_with == cold
  with pytest.raises(config_values.ConfigError, match=r"paper\.py:plain: unknown config key 'algo\.value_coef'"):
    reproduce.plan(paper, ["plain", "ppo"], [0], tmp_path, overrides=["--config.algo.value_coef=0.3"])


def test_an_unknown_arm_is_told_before_anything_runs(paper, tmp_path):
  with pytest.raises(config_values.ConfigError, match="'plan': did you mean 'plain'"):
    reproduce.plan(paper, ["plan"], [0], tmp_path)


def test_everything_runs_once_behind_its_cold_start(paper, site, tmp_path):
  runs = reproduce.plan(paper, ["plain", "ppo", "raw"], [0, 1], tmp_path / "runs")
  done = run_all(runs)
  assert sorted(done) == sorted(f"{run.path.parent.name}/{run.path.name}" for run in runs)
  assert sorted(started(site)) == sorted(
    [f"{arm}/seed{seed} train" for arm in ("plain", "ppo", "raw") for seed in (0, 1)]
    + [f"plain/seed{seed} cold" for seed in (0, 1)]
  )
  assert sorted(run_all(runs)) == sorted(done) and len(started(site)) == 8  # all done: nothing is started again


def test_a_run_that_fails_is_told_and_the_others_go_on(paper, site, tmp_path):
  (site / "breaks_ppo").touch()
  runs = reproduce.plan(paper, ["plain", "ppo"], [0], tmp_path / "runs")
  with pytest.raises(reproduce.RunsFailed, match=r"ppo/seed0 \(.*seed0\.log\):\n    ppo cannot be trained"):
    run_all(runs)
  assert runs[1].done and not runs[2].done
  (site / "breaks_ppo").unlink()
  assert len(run_all(runs)) == 3 and started(site).count("plain/seed0 train") == 1


def test_a_run_that_cannot_be_recorded_is_told_and_the_others_go_on(paper, site, tmp_path):
  runs = reproduce.plan(paper, ["plain", "ppo", "raw"], [0], tmp_path / "runs")
  recorded = []

  def record(run):
    if run.arm == "ppo":
      raise OSError("the disk is full")
    recorded.append(run.arm)

  for _ in range(2):  # where its process ends, and where it was done before
    recorded.clear()
    with pytest.raises(
      reproduce.RunsFailed, match=r"ppo/seed0 .*\n    it is done, .* recorded: OSError: the disk is full$"
    ):
      reproduce.run_all(runs, jobs=1, finished=record, shown=lambda working: None)
    assert sorted(recorded) == ["plain", "plain", "raw"]  # the cold start is named after its first arm
  assert started(site).count("ppo/seed0 train") == 1


def test_a_jax_that_does_not_start_is_told(tmp_path, monkeypatch):
  (tmp_path / "jax.py").write_text("raise RuntimeError('no such device')")
  monkeypatch.setenv("PYTHONPATH", str(tmp_path))
  with pytest.raises(reproduce.NoBackend, match=r"it said last:\n(.*\n)*    RuntimeError: no such device$"):
    reproduce.default_jobs()
  (tmp_path / "jax.py").write_text("raise SystemExit(3)")
  with pytest.raises(reproduce.NoBackend, match=r"it said last:\n    nothing, and ended with 3$"):
    reproduce.default_jobs()
  (tmp_path / "jax.py").write_text("default_backend = lambda: 'gpu'")
  assert reproduce.default_jobs() == 1


def test_a_run_that_fails_behind_its_last_step_is_not_done(paper, site, tmp_path):
  (site / "learns_nothing_raw").touch()
  (raw,) = reproduce.plan(paper, ["raw"], [0], tmp_path / "runs")
  for _ in range(2):
    with pytest.raises(reproduce.RunsFailed, match="raw had nothing to train on"):
      run_all([raw])
    assert raw.step == raw.steps and not raw.done
  (site / "learns_nothing_raw").unlink()
  assert run_all([raw]) == ["raw/seed0"] and raw.done and len(started(site)) == 3


def test_without_its_cold_start_an_arm_is_not_begun(paper, site, tmp_path):
  (site / "breaks_plain").touch()
  runs = reproduce.plan(paper, ["ppo", "raw"], [0], tmp_path / "runs")
  with pytest.raises(reproduce.RunsFailed, match=r"ppo/seed0 .*\n    it did not begin: its cold start failed"):
    run_all(runs)
  assert started(site).count("ppo/seed0 train") == 0 and runs[-1].done


def test_killed_in_the_middle_its_processes_end_and_it_goes_on(paper, site, tmp_path):
  (site / "waits_ppo").touch()
  code = f"""
    import pathlib
    from agentrl.training import reproduce
    reproduce._ROOT = pathlib.Path({str(site)!r})
    runs = reproduce.plan(pathlib.Path({str(paper)!r}), ["plain", "ppo"], [0], pathlib.Path({str(tmp_path / "runs")!r}))
    reproduce.run_all(runs, jobs=2, finished=lambda run: None, shown=lambda working: None)
  """
  root = pathlib.Path(__file__).parents[2]
  process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=os.environ | {"PYTHONPATH": str(root)})
  until(lambda: (site / "waiting").exists() and (tmp_path / "runs/plain/seed0/metrics.jsonl").exists())
  process.send_signal(signal.SIGKILL)
  process.wait()
  (site / "waiting").unlink()
  until(lambda: not _is_touched_again(site / "waiting"))
  (site / "waits_ppo").unlink()
  runs = reproduce.plan(paper, ["plain", "ppo"], [0], tmp_path / "runs")
  assert not runs[2].done and len(run_all(runs)) == 3
  assert started(site).count("plain/seed0 cold") == 1 and started(site).count("ppo/seed0 train") == 2


def until(condition):
  while not condition():
    time.sleep(0.05)


def _is_touched_again(file):
  file.unlink(missing_ok=True)
  time.sleep(0.3)
  return file.exists()


@pytest.mark.parametrize(
  ("text", "step"),
  [(b"", 0), (b'{"step": 4, "wall_s": 1}\n', 4), (b'{"step": 4}\n{"step": 5}\n{"st', 5), (b"x\n", 0)],
)
def test_how_far_a_run_got_is_in_its_last_whole_line(tmp_path, text, step):
  assert reproduce.last_step(tmp_path / "metrics.jsonl") == 0
  (tmp_path / "metrics.jsonl").write_bytes(text)
  assert reproduce.last_step(tmp_path / "metrics.jsonl") == step


def test_recorded_runs_of_other_settings_are_told(paper, tmp_path):
  (_, run) = reproduce.plan(paper, ["ppo"], [0], tmp_path / "runs")
  recorded = config_lib.load(f"{paper}:ppo", ["--config.seed=0", "--config.train.eval_every=3"]).to_dict()
  (tmp_path / "config.json").write_text(json.dumps({**recorded, "of_before": 1}))
  reproduce.check_recorded(run, tmp_path)
  (tmp_path / "config.json").write_text(json.dumps({**recorded, "train": {**recorded["train"], "steps": 9}}))
  with pytest.raises(config_values.ConfigError, match=r"settings:\n  train.steps: there 9, now 4\nGive another --out"):
    reproduce.check_recorded(run, tmp_path)


def test_recorded_runs_without_their_credentials_are_the_same_and_none_is_told(paper, tmp_path):
  given = ['--config.task.tool_options={"headers": {"Authorization": "s3cret"}, "pages": 3}']
  (_, run) = reproduce.plan(paper, ["plain"], [0], tmp_path / "runs", overrides=given)
  config = config_lib.load(f"{paper}:plain", ["--config.seed=0", *given])
  (tmp_path / "config.json").write_text(config_values.to_json(redacted_config(config)))
  reproduce.check_recorded(run, tmp_path)
  other = ['--config.task.tool_options={"headers": {"Authorization": "s3cret"}, "pages": 4}']
  (_, run) = reproduce.plan(paper, ["plain"], [0], tmp_path / "runs", overrides=other)
  with pytest.raises(config_values.ConfigError, match=r"task\.tool_options\.pages: there 3, now 4") as error:
    reproduce.check_recorded(run, tmp_path)
  assert "s3cret" not in str(error.value) and "headers" not in str(error.value)


def test_processes_that_share_the_cores_have_one_thread_each():
  assert reproduce.environment({}, alone=True).keys() == {"PYTHONPATH"}
  shared = reproduce.environment({"XLA_FLAGS": "--x", "OMP_NUM_THREADS": "3"}, alone=False)
  assert shared["OMP_NUM_THREADS"] == "3" and shared["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false --x"
