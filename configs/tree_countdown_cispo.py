"""CISPO on groups of independent samples, on `tree_countdown.py`'s task: what search is compared with.

The same cold start; 16 samples of a task are about as many tokens as its search.

  python experiments/train.py --config configs/tree_countdown_cispo.py --workdir runs/tree_countdown_cispo

Paper: MiniMax, 2025 (https://arxiv.org/abs/2506.13585); a baseline of Tambde, 2026. Result: not yet run.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("tree_countdown.py"), smoke=smoke)
  settings = {
    "rollout": {"strategy": "independent", "group_size": 4 if smoke else 16},
    "algorithm": "grpo",
    "algo": {"policy_loss": "cispo", "reduction": "token_mean"},
  }
  return run_config(settings, where=__file__, base=base)
