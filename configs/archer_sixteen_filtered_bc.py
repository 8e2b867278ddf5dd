"""Filtered behaviour cloning on ArCHer's game of 16 things: the tenth of the games with the highest returns is cloned.

  python experiments/train.py --config configs/archer_sixteen_filtered_bc.py --workdir runs/archer_sixteen_filtered_bc

Paper: baseline of Zhou et al., 2024 (https://arxiv.org/abs/2402.19446). Result: it
falls from -4.9 and -4.7 to -6.8 and -7.6 in 6,400 games (seeds 0, 1), since lucky guesses have the highest returns;
results/archer_sixteen/filtered_bc.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("archer_sixteen.py"), smoke=smoke)
  settings = {
    "algorithm": "sft",
    "algo": {"top_share": 0.1},
    "reward": {"return": 1.0},
    "optimizer": {"learning_rate": 5e-4, "schedule": "constant"},
    "rollout": {"groups": base.rollout.groups if smoke else 64},
    "train": {"steps": 2 if smoke else 100, "eval_every": 2 if smoke else 10},
  }
  return run_config(settings, where=__file__, base=base)
