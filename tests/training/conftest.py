"""The smallest run that has everything: a cold start, three steps of RL, tools, checkpoints and evaluations."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import pytest

from agentrl.training import assembly
from agentrl.training import config as config_lib

QUICKSTART = pathlib.Path(__file__).parents[2] / "configs" / "quickstart.py"
SETTINGS = {
  "model": {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "ffn": 48},
  "rollout": {"groups": 2, "group_size": 2, "max_tokens": 40, "workers": 2},
  "engine": {"slots": 4, "decode_tokens": 8, "live_step": 40},
  "pack": {"row_tokens": 128, "row_actions": 96, "rows": 1},
  "cold_start": {"steps": 2, "batch": 4},
  "train": {"steps": 3, "eval_every": 2, "checkpoint_every": 1, "trajectories_every": 1},
  "eval": {"tasks": 2},
  "mesh": {"data": 1},
}


@pytest.fixture(scope="session")
def tiny_config():
  return config_lib.resolve(config_lib.load(QUICKSTART, smoke=True), SETTINGS, where="test")


@pytest.fixture(scope="session")
def tiny_assembly(tiny_config):
  """`tiny_assembly()` gives the parts, compiled once per session, with params that training may donate."""
  parts = assembly.assemble(tiny_config)
  return lambda: dataclasses.replace(parts, params=jax.tree.map(jnp.copy, parts.params))
