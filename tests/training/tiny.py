"""The smallest run that has everything: a cold start, three steps of RL, tools, checkpoints and evaluations."""

import pathlib

from agentrl.training import config as config_lib
from agentrl.training import config_values

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


def make_config():
  """The config of the run."""
  return config_values.resolve(config_lib.load(QUICKSTART, smoke=True), SETTINGS, where="test")
