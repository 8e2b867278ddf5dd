"""A tiny model from scratch learns to write Python for arithmetic: cold start on mixed demonstrations, then GRPO.

Three operands of two digits. A quarter of the demonstrations write the expression and read what the interpreter says,
the others answer by head, which a model of this size cannot do. Each call is a guest of the sandbox, from interpreters
that wait for it.

  python experiments/train.py --config configs/python_math.py --workdir runs/python_math

Paper: Shao et al., 2024 (https://arxiv.org/abs/2402.03300). Result: held-out success 23.4 % before
RL, 80.9 % after (75.6 to 85.2; one seed, results/python_math/seed0).
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("quickstart.py"), smoke=smoke)
  settings = {"task": {"tool": "python", "difficulty": 2}, "rollout": {"max_tokens": 80}}
  if not smoke:
    settings["train"] = {"steps": 150}
  return run_config(settings, where=__file__, base=base)
