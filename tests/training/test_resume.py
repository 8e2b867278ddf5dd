"""Every setting is known to move numbers or to move none, and only the latter may change where a run goes on."""

import jax
import optax
import pytest

from agentrl import algorithms
from agentrl.rollout import strategies
from agentrl.training import config_values, resume
from agentrl.training.build.optimizer import OptimizerSettings, make_optimizer
from agentrl.training.defaults import base_config, run_config

ALGORITHMS = ("archer", "grpo", "ppo", "sft", "tree_distill")
KEYS = sorted({
  *config_values.flatten(base_config()),
  *(f"algo.{key}" for name in ALGORITHMS for key in config_values.flatten(algorithms.load(name).default_config())),
  *(f"strategy.{key}" for name in strategies.STRATEGIES for key in strategies.load(name).default_config()),
})  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_fixed_or_free(key):
  covering = [entry for entry in (*resume.FIXED, *resume.FREE) if resume.covers(entry, key)]
  assert len(covering) == 1, f"one entry of resume.FIXED or resume.FREE must cover {key}; there are {covering}"


def test_every_entry_covers_a_key():
  assert [e for e in (*resume.FIXED, *resume.FREE) if not any(resume.covers(e, key) for key in KEYS)] == []


@pytest.mark.parametrize("key", KEYS)
def test_a_run_goes_on_with_another_value_of_a_free_key_alone(key):
  change = config_values.Difference(key, 1, 2)
  lines = resume.refused([change], base_config(), done=50)
  assert lines == ([] if any(resume.covers(entry, key) for entry in resume.FREE) else [f"{key}: there 1, now 2"])


def lines_for(schedule, steps, done):
  config = run_config({"train": {"steps": steps}, "optimizer": {"schedule": schedule}}, where="test")
  return resume.refused([config_values.Difference("train.steps", 10, steps)], config, done=done)


@pytest.mark.parametrize("steps", [5, 7, 20])
def test_the_number_of_steps_may_change_where_it_moves_no_rate(steps):
  assert lines_for("constant", steps, done=5) == []
  assert lines_for("cosine", steps, done=0) == []
  (line,) = lines_for("cosine", steps, done=5)
  assert line.startswith(f"train.steps: there 10, now {steps}: the rates of optimizer.schedule='cosine' depend on")
  assert "experiments/export.py" in line


def test_fewer_steps_than_are_done_are_refused():
  assert lines_for("constant", 4, done=5) == ["train.steps: there 10, now 4: 5 steps are done"]


def rates(schedule, steps):
  """Size of the update of a gradient of 1, at each of the first 4 steps."""
  settings = OptimizerSettings(schedule=schedule, warmup_steps=1)
  optimizer, params = make_optimizer(settings, steps, {}), {"policy": jax.numpy.ones(())}
  state, found = optimizer.init(params), []
  for _ in range(4):
    with jax.numpy_dtype_promotion("standard"):
      update, state = optimizer.update(params, state, params)
    found.append(float(optax.tree.norm(update)))
  return found


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_which_rates_depend_on_the_number_of_steps(schedule):
  assert (rates(schedule, 8) == rates(schedule, 16)) == (schedule in resume.ENDLESS_SCHEDULES)
