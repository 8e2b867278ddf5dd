"""REINFORCE on the game of 16 things: the return of the whole game, less the mean of others about the same thing.

  python experiments/train.py --config configs/archer_sixteen_reinforce.py --workdir runs/archer_sixteen_reinforce

Paper: Ahmadian et al., 2024 (https://arxiv.org/abs/2402.14740), leave-one-out. Result: not yet
run from this clone; from one that was at -5.5 it got to -3.7 in 25,600 games (LOG.md).
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
