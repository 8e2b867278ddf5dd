"""W&B is told what metrics.jsonl says, and nothing that happens to it ends a run."""

import sys
import types

import pytest

from agentrl.training.tracker import Tracker


class Run:
  """Stands for a W&B run; raises while it is `broken`."""

  def __init__(self):
    self.told, self.broken = [], False

  def log(self, values, step):
    self._hear((step, values))

  def finish(self, exit_code):
    self._hear(exit_code)

  def _hear(self, what):
    if self.broken:
      raise ConnectionError("the backend process has shut down")
    self.told.append(what)


@pytest.fixture
def wandb(monkeypatch):
  """A module `wandb` whose `init` records its settings and gives `run`."""
  module = types.ModuleType("wandb")
  module.settings, module.run = {}, Run()
  module.init = lambda **settings: module.settings.update(settings) or module.run
  monkeypatch.setitem(sys.modules, "wandb", module)
  return module


@pytest.fixture
def track(tmp_path):
  return lambda mode="online": Tracker(mode, project="mine", run_id="abc", config={"seed": 1}, folder=tmp_path)


def test_a_run_is_named_by_its_folder_and_told_its_metrics_and_its_end(wandb, track, tmp_path):
  tracker = track()
  tracker.log(3, {"a/b": 0.5})
  tracker.finish(failed=False)
  assert wandb.settings == {
    "mode": "online", "project": "mine", "id": "abc", "name": tmp_path.name, "resume": "allow", "config": {"seed": 1},
    "dir": str(tmp_path), "settings": {"x_disable_meta": False},
  }  # fmt: skip
  assert wandb.run.told == [(3, {"a/b": 0.5}), 0]


def test_the_settings_are_those_of_the_real_one(tmp_path):
  real = pytest.importorskip("wandb")
  assert real.Settings(x_disable_meta=True).x_disable_meta


def test_a_run_that_failed_ends_as_failed(wandb, track):
  track().finish(failed=True)
  assert wandb.run.told == [1]


def test_failures_are_told_once_and_later_calls_are_tried(wandb, track, caplog):
  tracker = track()
  wandb.run.broken = True
  with caplog.at_level("ERROR", logger="absl"):
    tracker.log(1, {"a/b": 1.0})
    tracker.log(2, {"a/b": 2.0})
  assert [r.getMessage() for r in caplog.records] == [
    "W&B failed, and the run goes on without it: ConnectionError: the backend process has shut down"
  ]
  wandb.run.broken = False
  tracker.log(3, {"a/b": 3.0})
  tracker.finish(failed=False)
  assert wandb.run.told == [(3, {"a/b": 3.0}), 0]


def test_one_that_does_not_start_is_told_and_done_without(wandb, track, caplog):
  def refuses(**_):
    raise ValueError("no API key")

  wandb.init = refuses
  with caplog.at_level("ERROR", logger="absl"):
    tracker = track()
  assert "ValueError: no API key" in caplog.text
  tracker.log(1, {"a/b": 1.0})
  tracker.finish(failed=True)


def test_what_can_be_set_right_before_the_run_is_an_error(monkeypatch, track):
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(
    ImportError, match=r"wandb.mode='offline' needs wandb .*: pip install wandb, or wandb.mode=disabled"
  ):
    track("offline")
  with pytest.raises(ValueError, match=r"no wandb.mode is called 'on': .*known: disabled, offline, online"):
    track("on")


def test_disabled_imports_nothing(monkeypatch, track):
  monkeypatch.setitem(sys.modules, "wandb", None)
  tracker = track("disabled")
  tracker.log(1, {"a/b": 1.0})
  tracker.finish(failed=True)
