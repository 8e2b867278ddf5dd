"""Token-level PPO on ArCHer's game of 16 things: the turns' rewards on their last tokens, a critic on every token.

  python experiments/train.py --config configs/archer_sixteen_ppo.py --workdir runs/archer_sixteen_ppo

Paper: Schulman et al., 2017 (https://arxiv.org/abs/1707.06347). Result: -4.9, -4.7, -4.7
to -3.5, -3.5, -3.6 in 25,600 games (seeds 0, 1, 2); results/archer_sixteen/ppo.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("archer_sixteen.py"), smoke=smoke)
  settings = {
    "algorithm": "ppo",
    # Returns are large beside the clone's first values: the critic learns them first, fast, and off the trunk.
    "algo": {"minibatches": 2, "value_detach": True, "value_clip": 10.0, "gae_lambda": 0.98},
    "optimizer": {"learning_rate": 2e-4, "schedule": "constant", "value_rate": 10.0, "value_warmup": 40},
    "rollout": {"groups": base.rollout.groups if smoke else 64},
    "train": {"steps": 2 if smoke else 400, "eval_every": 2 if smoke else 20},
  }
  return run_config(settings, where=__file__, base=base)
