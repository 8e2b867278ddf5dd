"""Two lookups and an answer; half of a group branches behind tool results, wherever a coin says so: the control.

  python experiments/train.py --config configs/branching_random.py --workdir runs/branching_random

Paper: Dong et al., 2025 (https://arxiv.org/abs/2507.19849), without its entropies. Result: 16 -> 59 %, 8 ->
23 % and 25 -> 99 % (seeds 0, 1, 2); results/branching/random.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("branching_entropy.py"), smoke=smoke)
  settings = {"rollout": {"branching": {"rule": "random", "probability": 0.5}}}
  return run_config(settings, where=__file__, base=base)
