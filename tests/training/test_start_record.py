"""What is recorded of a start can be shown to others, on any system."""

import os
import pathlib

import pytest

from agentrl.training import start_record

CHECKOUT = str(pathlib.Path(start_record.__file__).parents[2])


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", "/home/somebody")
  monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
  ("argument", "shown"),
  [
    ("experiments/train.py", "experiments/train.py"),
    (f"{CHECKOUT}/experiments/train.py", "experiments/train.py"),
    ("--workdir=/home/somebody/runs/x", "--workdir=~/runs/x"),
    ("/home/somebody", "~"),
    ("/home/somebody.else/x", "/home/somebody.else/x"),
    ("/mnt/home/somebody/x", "/mnt/home/somebody/x"),
    ('{"path": "/home/somebody/a", "other": "/home/somebody/b"}', '{"path": "~/a", "other": "~/b"}'),
    ("/data/models", "/data/models"),
    ("", ""),
  ],
)
def test_paths_do_not_say_who_ran_it(argument, shown):
  assert start_record.shareable([argument]) == [shown]


def test_paths_in_the_working_directory_are_given_from_there(tmp_path):
  assert start_record.shareable([f"{tmp_path}/runs/x", f"--workdir={tmp_path}/y"]) == ["runs/x", "--workdir=./y"]


def test_a_system_that_tells_neither_cores_nor_memory(monkeypatch):
  monkeypatch.delattr(os, "sched_getaffinity", raising=False)
  monkeypatch.setattr(os, "sysconf", lambda name: (_ for _ in ()).throw(ValueError("unrecognized configuration name")))
  machine = start_record.start_record()["machine"]
  assert machine["cores"] == os.cpu_count()
  assert machine["memory_gib"] is None
  assert "host" not in machine


def test_settings_of_jax_that_move_numbers_are_recorded(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true --xla_dump_to=/home/somebody/dump")
  assert start_record.start_record()["jax_flags"]["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=true"
