"""Two lookups and an answer; half of a group branches where a tool result makes the policy unsure (ARPO).

  python experiments/train.py --config configs/branching_entropy.py --workdir runs/branching_entropy

Paper: Dong et al., 2025 (https://arxiv.org/abs/2507.19849), its threshold rule at its defaults, and credit as in its
code. Result: 16 -> 63 %, 8 -> 23 % and 25 -> 100 % (seeds 0, 1, 2; results/branching/entropy), at equal tool calls
no better than GRPO or random branching (LOG.md).
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("branching_baseline.py"), smoke=smoke)
  settings = {
    "rollout": {
      "strategy": "branching",
      "branching": {"rule": "threshold", "alpha": 0.5, "beta": 0.2, "threshold": 0.5},
    },
    "algo": {"shared_tokens": "per_branch"},
  }
  return run_config(settings, where=__file__, base=base)
