"""Best-of-N distillation on `tree_countdown.py`'s task: independent samples, of which the best of each task is learned.

The same loss, critic and cold start; 16 samples of a task are about as many tokens as its search.

  python experiments/train.py --config configs/tree_countdown_best_of.py --workdir runs/tree_countdown_best_of

Paper: Tambde, 2026, "Tree search distillation for language models using PPO", baseline. Result: not yet run.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("tree_countdown.py"), smoke=smoke)
  settings = {
    "rollout": {"strategy": "independent", "group_size": 4 if smoke else 16},
    "filters": ("best_of_group",),
  }
  return run_config(settings, where=__file__, base=base)
