"""The runs of a paper: arms x seeds, several processes at a time, one cold start for all arms of a seed.

A run is a process of experiments/train.py in a folder of its own, WORKDIR/ARM/seed0. Arms whose cold starts have the
same settings begin with that of WORKDIR/cold_starts/ARM/seed0, a run of no steps behind it, named after the first of
them. All of it can be killed at any instant: the processes end with this one, and runs go on from their checkpoints.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from ml_collections import ConfigDict

from agentrl.envs import supervisor
from agentrl.training import config as config_lib
from agentrl.training import config_values, own_code, resume
from agentrl.training.redacted import differences_shown
from agentrl.training.saved import stage_differences
from agentrl.training.stages import COLD_START, stages_of

_ROOT = pathlib.Path(__file__).parents[2]  # of the checkout
_POLL_S = 0.5
_TAIL_BYTES = 1 << 16
# One thread for each of several processes: small shapes gain nothing from more.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_ALONE = ("--config.tuning.steps=0", "--config.train.steps=0")  # a cold start with nothing behind it
_ONE_THREAD_XLA = "--xla_cpu_multi_thread_eigen=false"


class RunsFailed(RuntimeError):
  """Some runs ended with an error; the others are done. The message names them and what they said last."""


class NoBackend(RuntimeError):
  """JAX does not start in a process of its own; the message says what it said last."""


@dataclasses.dataclass(frozen=True)
class Run:
  """A run of a paper, or a cold start that several share.

  Attributes:
    arm: its name, also of the first arm that begins with this cold start.
    seed: of the config.
    path: its folder.
    arguments: of experiments/train.py.
    steps: global step at which it is done.
    begins_with: the cold start that it takes over; None where it makes its own, or has none.
    is_cold_start: it is such a cold start.
  """

  arm: str
  seed: int
  path: pathlib.Path
  arguments: tuple[str, ...]
  steps: int
  begins_with: Run | None = None
  is_cold_start: bool = False

  @property
  def step(self) -> int:
    """Global step that it has got to; 0 where it has not begun."""
    return last_step(self.path / "metrics.jsonl")

  @property
  def done(self) -> bool:
    """All of its steps are measured, and its process ended well; of a cold start, its checkpoint is there too."""
    saved = self.path / "checkpoints" / COLD_START / str(self.steps)
    return self.mark.exists() and self.step >= self.steps and (saved.is_dir() or not self.is_cold_start)

  @property
  def mark(self) -> pathlib.Path:
    """Is there where its process ended well, which may end with an error behind the last step too."""
    return self.path.with_name(f"{self.path.name}.done")

  @property
  def log(self) -> pathlib.Path:
    """What its process wrote."""
    return self.path.with_name(f"{self.path.name}.log")


def plan(
  file: pathlib.Path,
  arms: Sequence[str],
  seeds: Sequence[int],
  workdir: pathlib.Path,
  *,
  overrides: Sequence[str] = (),
  smoke: bool = False,
) -> list[Run]:
  """All runs, cold starts before those that begin with them, seed by seed.

  Args:
    file: config file with `ARMS`. arms: those to run. seeds: of each.
    workdir: folder of the run folders.
    overrides: `--config.a.b=value` strings for all runs.
    smoke: the variant of two steps.

  Raises:
    ConfigError: the file has no such arm, or an override is wrong.
  """
  runs: list[Run] = []
  names = list(config_lib.read_file(file).ARMS)
  for seed in seeds:
    given = (*overrides, f"--config.seed={seed}")
    configs = {arm: config_lib.load(f"{file}:{arm}", given, smoke=smoke) for arm in arms}
    for name in set(names) - set(arms):
      with contextlib.suppress(config_values.ConfigError):  # overrides need to fit the arms that are run
        configs[name] = config_lib.load(f"{file}:{name}", given, smoke=smoke)
    for arm in arms:
      owner = next((name for name in names if name in configs and _share_cold_start(configs[name], configs[arm])), None)
      cold = None
      if owner is not None:
        cold = _run(file, owner, seed, workdir / "cold_starts", (*given, *_ALONE), smoke)
        cold = dataclasses.replace(cold, steps=configs[owner].cold_start.steps, is_cold_start=True)
        runs += [] if cold in runs else [cold]
      taken = () if cold is None else (f"--config.cold_start.run={cold.path}",)
      steps = stages_of(configs[arm])[-1].last
      run = _run(file, arm, seed, workdir, (*given, *taken), smoke)
      runs.append(dataclasses.replace(run, steps=steps, begins_with=cold))
  return runs


def _run(file: pathlib.Path, arm: str, seed: int, workdir: pathlib.Path, overrides: Sequence[str], smoke: bool) -> Run:
  path = workdir / arm / f"seed{seed}"
  arguments = ("--config", f"{file}:{arm}", "--workdir", str(path), *(["--smoke"] if smoke else []), *overrides)
  return Run(arm, seed, path, arguments, steps=0)


def as_recorded(
  file: pathlib.Path, arm: str, recorded: pathlib.Path, *, overrides: Sequence[str] = (), smoke: bool = False
) -> Run:
  """The run that a command would make in the place of a recorded one, for `check_recorded`.

  Args:
    file: config file with `ARMS`. arm: of the recorded run. recorded: its folder, named after its seed.
    overrides, smoke: as of `plan`.

  Raises:
    ConfigError: an override does not fit the arm.
  """
  given = (*overrides, f"--config.seed={recorded.name.removeprefix('seed')}")
  try:
    config = config_lib.load(f"{file}:{arm}", given, smoke=smoke)
  except config_values.ConfigError as error:
    raise config_values.ConfigError(
      f"{recorded} was recorded with other settings: these do not fit it ({error}). Give another --out, or remove it"
    ) from error
  run = _run(file, arm, int(recorded.name.removeprefix("seed")), recorded.parent.parent, given, smoke)
  return dataclasses.replace(run, steps=stages_of(config)[-1].last)


def _share_cold_start(one: ConfigDict, other: ConfigDict) -> bool:
  """Whether both configs begin with a cold start of their own, and of the same settings."""
  (stage, *_), (theirs, *_) = stages_of(other), stages_of(one)
  own = stage.name == theirs.name == COLD_START and not (stage.run or theirs.run)
  return own and not stage_differences(stage, one, other)


def check_finished(run: Run, recorded: pathlib.Path) -> None:
  """Raises ConfigError where a recorded run in the place of this one ends before its last step."""
  if (step := last_step(recorded / "metrics.jsonl")) < run.steps:
    raise config_values.ConfigError(
      f"{recorded} has metrics up to step {step} of {run.steps}: it is no run that is done. Put it back from a copy, "
      "or remove it to run it anew"
    )


def check_recorded(run: Run, recorded: pathlib.Path) -> None:
  """Raises ConfigError where a recorded run in the place of this one was made with other settings or modules.

  What moves no number, such as how often it was saved, may differ, and keys that only one of the two versions has.
  """
  overrides, rest = config_values.split_argv(run.arguments)
  config = config_lib.load(rest[rest.index("--config") + 1], overrides, smoke="--smoke" in rest)
  old = config_values.from_json((recorded / "config.json").read_bytes(), where=str(recorded / "config.json"))
  changed = [d for d in differences_shown(old, config) if config_values.ABSENT not in (d.old, d.new)]
  free = [entry for entry in resume.FREE if entry != "train.steps"] + ["cold_start.run"]
  if lines := [d for d in changed if not any(resume.covers(entry, d.key) for entry in free)]:
    told = "\n".join(f"  {d.key}: there {d.old!r}, now {d.new!r}" for d in lines)
    raise config_values.ConfigError(
      f"{recorded} was recorded with other settings:\n{told}\nGive another --out, or remove it to run it anew"
    )
  record = recorded / "run.json"
  starts = json.loads(record.read_bytes())["starts"] if record.is_file() else []
  if modules := own_code.changed(starts, own_code.hashes(config)):
    raise config_values.ConfigError(
      f"{recorded} was recorded with another version of {' and '.join(modules)}, which has changed since or is not on "
      "PYTHONPATH now. Give another --out, or remove it to run it anew"
    )


def run_all(
  runs: Sequence[Run], *, jobs: int, finished: Callable[[Run], None], shown: Callable[[Sequence[Run]], None]
) -> None:
  """Runs what is not done yet, `jobs` processes at a time.

  Args:
    runs: each behind the cold start that it begins with.
    finished: called with each run that is done, also with those that were done before. Where it raises, the run counts
      as failed, and the others go on.
    shown: called every half a second with the runs whose processes are at work.

  Raises:
    RunsFailed: at the end, where processes ended with an error, or their cold start did, or `finished` raised.
  """
  failed: dict[Run, str] = {}

  def finish(run: Run) -> None:
    try:
      finished(run)
    except Exception as error:
      failed[run] = f"    it is done, and could not be recorded: {type(error).__name__}: {error}"

  waiting = [run for run in runs if not run.done]
  for run in runs:
    if run.done:
      finish(run)
  with _lifeline() as lifeline:
    working: dict[Run, subprocess.Popen] = {}
    while waiting or working:
      for run in _startable(waiting, jobs - len(working)):
        waiting.remove(run)
        working[run] = _start(run, lifeline, alone=jobs == 1)
      shown(list(working))
      time.sleep(_POLL_S)
      for run, process in list(working.items()):
        if process.poll() is not None:
          del working[run]
          if not process.returncode:
            run.mark.touch()
          if run.done:
            finish(run)
          else:
            failed[run] = _last_words(run)
      lost = [run for run in waiting if run.begins_with in failed]
      waiting = [run for run in waiting if run not in lost]
      failed |= dict.fromkeys(lost, "    it did not begin: its cold start failed")
  if failed:
    told = [f"  {run.path} ({run.log}):\n{why}" for run, why in failed.items()]
    raise RunsFailed("\n".join(["these runs failed; the same command tries them again:", *told]))


def _startable(waiting: Sequence[Run], free: int) -> list[Run]:
  ready = [run for run in waiting if run.begins_with is None or run.begins_with.done]
  return ready[: max(free, 0)]


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
  """The reading end of a pipe: processes that watch it end when the body does, or this process is killed."""
  reads, writes = os.pipe()
  try:
    yield reads
  finally:
    os.close(writes)
    os.close(reads)


def _start(run: Run, lifeline: int, *, alone: bool) -> subprocess.Popen:
  run.path.parent.mkdir(parents=True, exist_ok=True)
  run.mark.unlink(missing_ok=True)
  command = [sys.executable, str(_ROOT / "experiments" / "train.py"), *run.arguments]
  with open(run.log, "ab") as log:
    return subprocess.Popen(
      supervisor.supervised(lifeline, command),
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
      env=environment(os.environ, alone=alone),
      pass_fds=(lifeline,),
      start_new_session=True,
    )


def environment(given: Mapping[str, str], *, alone: bool) -> dict[str, str]:
  """Environment variables of a process; `alone`: no other one shares the cores with it."""
  path = os.pathsep.join([str(_ROOT), *filter(None, [given.get("PYTHONPATH")])])
  made = {**given, "PYTHONPATH": path}
  if not alone:
    made = _ONE_THREAD | made
    made["XLA_FLAGS"] = f"{_ONE_THREAD_XLA} {given.get('XLA_FLAGS', '')}".strip()
  return made


def default_jobs() -> int:
  """As many processes as cores where JAX runs on them; one where it has an accelerator, which they could not share.

  Raises:
    NoBackend: JAX does not start.
  """
  asked = subprocess.run(
    [sys.executable, "-c", "import jax; print(jax.default_backend())"], capture_output=True, text=True, check=False
  )
  if asked.returncode:
    raise NoBackend(
      "JAX does not start, and so no run would; asked for its backend, it said last:\n"
      + _last_lines(asked.stderr, f"    nothing, and ended with {asked.returncode}")
    )
  if asked.stdout.split()[-1] != "cpu":
    return 1
  try:
    return len(os.sched_getaffinity(0))
  except AttributeError:  # as on macOS
    return os.cpu_count() or 1


def last_step(file: pathlib.Path) -> int:
  """Step of the last whole line of a metrics.jsonl; 0 where there is none."""
  try:
    with open(file, "rb") as lines:
      lines.seek(max(lines.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
      *whole, _ = lines.read().split(b"\n")
  except FileNotFoundError:
    return 0
  return _step_of(whole[-1]) if whole else 0


def _step_of(line: bytes) -> int:
  try:
    return int(json.loads(line)["step"])
  except (ValueError, KeyError, TypeError):
    return 0


def _last_words(run: Run) -> str:
  return _last_lines(run.log.read_text(errors="replace"), "    it said nothing")


def _last_lines(text: str, otherwise: str) -> str:
  return "\n".join(f"    {line}" for line in text.strip().splitlines()[-5:]) or otherwise
