"""Checkpoints by global step, across stages and from one run to another."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from agentrl.training import config_values
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.saved import restore_params, saved_steps, stage_differences, taken_over
from agentrl.training.stages import stages_of


def take(config, parts, run: pathlib.Path):
  """Takes the cold start of a run over."""
  taker = config_values.resolve(config, {"cold_start": {"run": str(run)}}, where="test")
  return taken_over(stages_of(taker)[0], taker, parts)


def test_steps_are_counted_across_the_stages(tiny_config, tiny_experiment, tmp_path):
  parts = tiny_experiment()
  cold, train = stages_of(tiny_config)
  assert saved_steps(tiny_config, tmp_path) == {}
  state = {"params": {"policy": parts.params}}
  for stage, step in ((cold, 2), (train, 1), (train, 3)):
    Checkpointer(stage.checkpoints(tmp_path)).save(step, state, {})
  assert saved_steps(tiny_config, tmp_path) == {2: (cold, 2), 3: (train, 1), 5: (train, 3)}
  assert restore_params(tiny_config, parts, tmp_path, None)[1] == 5
  params, step = restore_params(tiny_config, parts, tmp_path, 2)
  assert step == 2 and set(params) == {"policy"}
  jax.tree.map(lambda a, b: jnp.array_equal(a, b) or pytest.fail("other weights"), params["policy"], parts.params)
  with pytest.raises(FileNotFoundError, match=r"has no checkpoint of step 4; there are those of steps \[2, 3, 5\]"):
    restore_params(tiny_config, parts, tmp_path, 4)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"seed": 5}, "seed: there 0, here 5"),
    ({"cold_start": {"batch": 3}}, "cold_start.batch: there 4, here 3"),
    ({"cold_start": {"algo": {"epochs": 2}}}, "cold_start.algo.epochs: there 1, here 2"),
    ({"pack": {"row_tokens": 136}}, "pack.row_tokens: there 128, here 136"),
    ({"optimizer": {"weight_decay": 0.1}}, "optimizer.weight_decay: there 0.0, here 0.1"),
    ({"optimizer": {"schedule": "cosine"}}, "optimizer.schedule: there 'linear', here 'cosine'"),
    ({"task": {"family": "countdown"}}, "task.family"),
    ({"cold_start": {"steps": 0}}, "cold_start.steps: there 2, here 0"),
  ],
)
def test_another_cold_start_is_not_taken_over(unbroken, tiny_config, tiny_experiment, change, message):
  with pytest.raises(ValueError, match=message):
    take(config_values.resolve(tiny_config, change, where="test"), tiny_experiment(), unbroken[0])


@pytest.mark.parametrize(
  ("source", "told"), [("authored", []), ("rollouts", ["rollout.temperature", "reward.correct", "curriculum.name"])]
)
def test_what_a_cold_start_depends_on_follows_from_its_source(tiny_config, source, told):
  one = config_values.resolve(tiny_config, {"cold_start": {"source": source}}, where="test")
  changes = {"reward": {"correct": 2.0}, "curriculum": {"name": "pool"}, "train": {"steps": 9}}
  changes |= {"rollout": {"temperature": 0.5, "workers": 3}}
  other = config_values.resolve(one, changes, where="test")
  assert sorted(d.key for d in stage_differences(stages_of(other)[0], one, other)) == sorted(told)


def test_a_run_that_took_its_cold_start_over_names_whose_it_was(tiny_config, tiny_experiment, tmp_path):
  taker = config_values.resolve(tiny_config, {"cold_start": {"run": "runs/first"}}, where="test")
  (tmp_path / "config.json").write_text(config_values.to_json(taker))
  with pytest.raises(ValueError, match="took over its cold start itself, from 'runs/first': name that"):
    take(tiny_config, tiny_experiment(), tmp_path)
  with pytest.raises(FileNotFoundError, match=r"cold_start.run: .* holds no run"):
    take(tiny_config, tiny_experiment(), tmp_path / "nowhere")
