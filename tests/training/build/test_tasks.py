"""Tasks from the section of a config; families mixed by it."""

import dataclasses

import pytest

from agentrl.training import config_values
from agentrl.training.build.tasks import open_tasks, whole_entries
from agentrl.training.defaults import run_config

MIXTURE = {"easy": {"weight": 3}, "hard": {"difficulty": 2, "options": {"seed": 5}}}


def test_an_entry_has_what_the_section_has_and_its_own_over_it():
  config = run_config({"task": {"system": "Be brief.", "options": {"seed": 3}, "mixture": MIXTURE}}, where="test")
  entries = whole_entries(config.task)
  assert (entries["easy"]["weight"], entries["hard"]["weight"]) == (3.0, 1.0)
  assert [entry["difficulty"] for entry in entries.values()] == [1, 2]
  assert [entry["options"] for entry in entries.values()] == [{"seed": 3}, {"seed": 5}]
  assert all(entry["system"] == "Be brief." and "mixture" not in entry for entry in entries.values())
  assert whole_entries(run_config({}, where="test").task) == {}


@pytest.mark.parametrize(
  ("entry", "words"),
  [
    ({"dificulty": 2}, r"unknown config key 'task\.mixture\.hard\.dificulty'; .*'task\.mixture\.hard\.difficulty'"),
    ({"difficulty": "2"}, r"task\.mixture\.hard: task\.mixture\.hard\.difficulty must be of type int"),
    ({"difficulty": -1}, r"task\.mixture\.hard\.difficulty=-1 must be at least 0"),
    ({"weight": 0}, r"task\.mixture\.hard\.weight=0\.0 must be above 0"),
    (2.0, r"task\.mixture\.hard: task is a section"),
  ],
)
def test_a_wrong_entry_is_named(entry, words):
  config = run_config({"task": {"mixture": {"hard": entry}}}, where="test")
  with pytest.raises(ValueError, match=words):
    whole_entries(config.task)


def test_a_wrong_backend_is_told_where_nothing_is_hosted_too():
  config = run_config({"hosting": {"backend": "rya", "processes": 0}}, where="test")
  with pytest.raises(ValueError, match=r"no hosting.backend is called 'rya': did you mean 'ray'"):
    open_tasks(config.task, config.hosting, environment_seconds=60.0)


def test_entries_are_set_on_the_command_line():
  config = config_values.override(run_config({}, where="test"), ["--config.task.mixture.easy.weight=2"], where="test")
  config = config_values.override(config, ["--config.task.mixture.hard.difficulty=2"], where="test")
  assert {name: entry["difficulty"] for name, entry in whole_entries(config.task).items()} == {"easy": 1, "hard": 2}


def test_a_run_measures_every_entry(run, tiny_config, tiny_experiment, tmp_path):
  settings = {"task": {"mixture": MIXTURE}, "eval": {"tasks": 4}}
  parts, config = tiny_experiment(), config_values.resolve(tiny_config, settings, where="test")
  tasks = open_tasks(config.task, config.hosting, environment_seconds=60.0)
  parts = dataclasses.replace(parts, tasks=tasks, collector=dataclasses.replace(parts.collector, tasks=tasks))
  lines = run(tmp_path / "run", parts, settings)
  easy, hard, all_of_them = (lines[0][f"eval/success{entry}"] for entry in ("/easy", "/hard", ""))
  assert (3 * easy + hard) / 4 == pytest.approx(all_of_them)
  for name in ("success", "reward"):  # two groups a step
    keys = [f"train/{name}/{entry}" for entry in ("easy", "hard")]
    means = [line[key] for line in lines[3:] for key in keys if key in line]
    assert means and all(0 <= mean <= 1 for mean in means)
  assert "train/success/easy" not in lines[1]  # of the cold start
