"""CISPO on groups of independent samples, on `tree_countdown.py`'s task: what search is compared with.

A step of 16 tasks x 16 samples generates a third more tokens than one of 40 searches.

  python experiments/train.py --config configs/tree_countdown_cispo.py --workdir runs/tree_countdown_cispo

To begin with the cold start of a search that has been run: --config.cold_start.run=runs/tree_countdown.

Paper: MiniMax, 2025 (https://arxiv.org/abs/2506.13585); a baseline of Tambde, 2026. Result: 34 -> 40 %, mean of five
seeds; results/tree_countdown/cispo. With --config.rollout.temperature=1.6, the searches', 44 %;
results/tree_countdown/cispo_hot.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("tree_countdown.py"), smoke=smoke)
  settings = {
    "rollout": {
      "strategy": "independent",
      "groups": 2 if smoke else 16,
      "group_size": 4 if smoke else 16,
      "temperature": 1.0,
    },
    "train": {"steps": 2 if smoke else 150},
    "algorithm": "grpo",
    "algo": {"policy_loss": "cispo", "reduction": "token_mean"},
  }
  return run_config(settings, where=__file__, base=base)
