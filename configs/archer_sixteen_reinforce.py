"""REINFORCE on the game of 16 things: the return of the whole game, less the mean of others about the same thing.

  python experiments/train.py --config configs/archer_sixteen_reinforce.py --workdir runs/archer_sixteen_reinforce

Paper: Ahmadian et al., 2024 (https://arxiv.org/abs/2402.14740), leave-one-out. Result: -4.9, -4.7,
-4.7 to -3.5, -3.5, -3.6 in 25,600 games (seeds 0, 1, 2); results/archer_sixteen/reinforce.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("archer_sixteen.py"), smoke=smoke)
  settings = {
    "algorithm": "grpo",
    "algo": {"advantage": "leave_one_out", "policy_loss": "reinforce", "reduction": "sequence_sum_norm"},
    "reward": {"return": 1.0},
    "rollout": {"groups": base.rollout.groups if smoke else 16, "group_size": 4},
    "optimizer": {"learning_rate": 3e-4, "schedule": "constant"},
    "train": {"steps": 2 if smoke else 400, "eval_every": 2 if smoke else 20},
  }
  return run_config(settings, where=__file__, base=base)
