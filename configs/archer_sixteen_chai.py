"""CHAI on the game of 16 things: the policy stays the clone, and says the best of five utterances by ArCHer's critics.

  python experiments/train.py --config configs/archer_sixteen_chai.py --workdir runs/archer_sixteen_chai

Games are played so from the first, and evaluations too, but for the one before RL, which is the clone's. As in ArCHer
V is of the clone's own utterances: the critics say what they are worth to a clone that goes on without re-ranking.

Paper: Verma et al., 2022 (https://arxiv.org/abs/2204.08426), as the baseline of Zhou et al., 2024
(https://arxiv.org/abs/2402.19446). Unlike that baseline's code, where V's utterances are re-ranked too, and by the
target critic. Result: -4.9, -4.7, -4.7 to -3.7, -3.9, -3.6 after 160 games (seeds 0, 1, 2), and then between -3.6 and
-4.7, -4.0, -4.4, -4.3 after 960; results/archer_sixteen/chai.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("archer_sixteen.py"), smoke=smoke)
  settings = {
    "rollout": {"strategy": "reranked", "reranked": {"candidates": 5}},
    "algo": {"actor": {"updates": 0}},
    "train": {"steps": 2 if smoke else 30},
  }
  return run_config(settings, where=__file__, base=base)
