"""Best-of-N distillation on `tree_countdown.py`'s task: independent samples, of which the best of each task is learned.

A step of 16 tasks x 16 samples generates a third more tokens than one of 40 searches.

  python experiments/train.py --config configs/tree_countdown_best_of.py --workdir runs/tree_countdown_best_of

To begin with the cold start of a search that has been run: --config.cold_start.run=runs/tree_countdown.

Paper: Tambde, 2026, "Tree search distillation for language models using PPO", baseline. Result: 34 -> 35 %, mean of
five seeds; results/tree_countdown/best_of. At the searches' temperature, 1.6, 35 and 45 % (seeds 0, 1).
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
    "algo": {"target": "path", "baseline": "none", "reduction": "sequence_mean"},
    "filters": ("best_of_group",),
  }
  return run_config(settings, where=__file__, base=base)
