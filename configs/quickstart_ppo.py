"""The quickstart's task with PPO: a value head on the trunk, GAE over action tokens, a clipped value loss.

  python experiments/train.py --config configs/quickstart_ppo.py --workdir runs/quickstart_ppo

Paper: Schulman et al., 2017 (https://arxiv.org/abs/1707.06347). Result: held-out success 20.3 % before RL, 94.1 %
after, one seed (`results/quickstart_ppo/seed0`).
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("quickstart.py"), smoke=smoke)
  settings = {
    "algorithm": "ppo",
    "algo": {"gae_lambda": 1.0, "minibatches": 2, "value_coef": 0.5},
    "optimizer": {"learning_rate": 5e-4},
  }
  return run_config(settings, where=__file__, base=base)
