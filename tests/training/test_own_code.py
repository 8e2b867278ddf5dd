"""A change of the modules of one's own that a config names is noticed."""

import importlib
import json
import sys

import pytest

from agentrl.training import config as config_lib
from agentrl.training import config_values, own_code, reproduce
from agentrl.training.defaults import run_config
from agentrl.training.run_folder import RunFolder


@pytest.fixture
def lab(tmp_path, monkeypatch):
  """A package of one's own on the path."""
  folder = tmp_path / "on_path" / "lab_of_own_code"
  folder.mkdir(parents=True)
  for name in ("__init__", "losses", "rewards", "ways", "worlds", "unused"):
    (folder / f"{name}.py").write_text("def mine(): return 1\n")
  monkeypatch.syspath_prepend(folder.parent)
  importlib.invalidate_caches()
  yield folder
  for name in [name for name in sys.modules if name.startswith("lab_of_own_code")]:
    del sys.modules[name]  # finding a module imports the packages around it


SETTINGS = {
  "algo": {"policy_loss": "lab_of_own_code.losses:mine"},
  "reward": {"correct": 1.0, "lab_of_own_code.rewards:mine": 0.5},
}


def test_modules_are_found_wherever_a_config_names_them(lab):
  config = config_values.resolve({}, {
    "algorithm": "grpo", "rollout": {"strategy": "lab_of_own_code.ways"}, "model": {"path": "agentrl.models:x"},
    "task": {"family": "countdown", "mixture": {"a": {"family": "lab_of_own_code.worlds", "weight": 1.0}}},
    "other": ["nowhere.to.be:found", "a: b", "lab_of_own_code.unused"], **SETTINGS,
  }, where="test")  # fmt: skip
  found = own_code.hashes(config)
  named = [f"lab_of_own_code.{name}" for name in ("losses", "rewards", "ways", "worlds")]
  assert sorted(found) == ["lab_of_own_code", *named]
  assert own_code.hashes(config) == found and own_code.hashes(run_config({}, where="test")) == {}
  (lab / "losses.py").write_text("def mine(): return -1\n")
  now = own_code.hashes(config)
  assert own_code.changed([{"modules": found}, {"modules": now}], now) == ["lab_of_own_code.losses"]
  assert own_code.changed([{"modules": now}, {"of": "before"}], now) == []
  assert own_code.changed([{"modules": now}], {}) == sorted(now)


def test_what_a_named_module_imports_of_its_own_tree_is_hashed_too(lab):
  (lab / "losses.py").write_text(
    "import json\nimport numpy as np\nfrom agentrl.ops import losses\nfrom . import shared\n"
    "from .deep.below import clip\nimport beside_the_lab\n\ndef mine():\n  from lab_of_own_code.late import rate\n"
  )
  (lab / "deep").mkdir()
  for name in ("shared", "late", "deep/__init__", "deep/below", "deep/further"):
    (lab / f"{name}.py").write_text("")
  (lab / "deep" / "below.py").write_text("from ..shared import x\nfrom .further import y\nfrom . import nothing_here\n")
  (lab.parent / "beside_the_lab.py").write_text("import lab_of_own_code.losses\n")  # a circle
  config = run_config({"algo": {"policy_loss": "lab_of_own_code.losses:mine"}}, where="test")
  found = own_code.hashes(config)
  inner = ("deep", "deep.below", "deep.further", "late", "losses", "shared")
  assert list(found) == ["beside_the_lab", "lab_of_own_code", *(f"lab_of_own_code.{name}" for name in inner)]
  (lab / "deep" / "further.py").write_text("y = 2\n")
  assert own_code.changed([{"modules": found}], own_code.hashes(config)) == ["lab_of_own_code.deep.further"]


def test_of_an_installed_package_its_own_modules_alone_are_hashed(tmp_path, monkeypatch):
  place = tmp_path / "site-packages"
  (place / "installed_lab").mkdir(parents=True)
  (place / "installed_lab" / "__init__.py").write_text("")
  (place / "installed_lab" / "losses.py").write_text("import beside_the_installed\n")
  (place / "beside_the_installed.py").write_text("")
  monkeypatch.syspath_prepend(place)
  importlib.invalidate_caches()
  found = own_code.hashes(config_values.resolve({}, {"x": "installed_lab.losses:mine"}, where="test"))
  assert list(found) == ["installed_lab", "installed_lab.losses"]
  sys.modules.pop("installed_lab", None)


def test_a_run_that_goes_on_with_another_module_is_told(lab, tmp_path):
  config = run_config(SETTINGS, where="test")
  with RunFolder.open(tmp_path / "run", config) as folder:
    assert folder.changed_modules == []
  (lab / "losses.py").write_text("def mine(): return 0\n")
  with RunFolder.open(tmp_path / "run", config) as folder:
    assert folder.changed_modules == []  # nothing was measured yet
    folder.write_metrics(0, {"a/b": 1})
  (lab / "losses.py").write_text("def mine(): return -1\n")
  with RunFolder.open(tmp_path / "run", config) as folder:
    assert folder.changed_modules == ["lab_of_own_code.losses"]
  *_, before, last = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
  assert before["modules"].keys() == last["modules"].keys() and before["modules"] != last["modules"]


def test_a_recorded_run_of_another_module_is_none_of_this_command(lab, tmp_path):
  paper = tmp_path / "paper.py"
  paper.write_text(f"BASE = {{}}\nARMS = {{'plain': {SETTINGS}}}\n")
  kept = tmp_path / "plain" / "seed0"
  config = config_lib.load(f"{paper}:plain", ["--config.seed=0"])
  with RunFolder.open(kept, config):
    pass
  run = reproduce.as_recorded(paper, "plain", kept)
  reproduce.check_recorded(run, kept)
  (lab / "rewards.py").write_text("def mine(): return -1\n")
  with pytest.raises(
    config_values.ConfigError, match=r"recorded with another version of lab_of_own_code\.rewards, which"
  ):
    reproduce.check_recorded(run, kept)
