"""Template for a Qwen folder on a GPU: tau2's telecom tickets in solo mode, with the customer's phone at hand.

There is nobody to talk to: the policy calls the tools of the desk and of the phone until the ticket is solved.

  python experiments/train.py --config configs/tau2_telecom.py --workdir runs/tau2_telecom \
    --config.model.path=path/to/folder

Needs the extra: pip install -e '.[tau2]' && pip install --no-deps inspect-evals
Paper: Barres et al., 2025 (https://arxiv.org/abs/2506.07982). Result: not yet run.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("qwen_grpo.py"), smoke=smoke)
  settings = {
    "task": {
      "family": "tau2",
      "tool": "",
      "difficulty": 1,
      "options": {"domain": "telecom", "tasks": "full"},
      "max_output_chars": 4000,
      "system": "",
    },
    "hosting": {"processes": 16},
    "rollout": {"max_tokens": 16384, "max_turns": 40},
    "engine": {"slots": 64},
    "pack": {"row_tokens": 24576, "row_actions": 16384},
    "reward_options": {"soft_overlong": {"max_tokens": 4096, "buffer": 1024}},
  }
  if smoke:  # bytes for tokens: texts are four times as long
    settings["hosting"]["processes"] = 1
    settings["engine"]["slots"] = 4
    settings["rollout"] |= {"max_tokens": 45056, "max_turns": 3, "turn_tokens": 64}
    settings["pack"] = {"row_tokens": 49152, "row_actions": 4096}
  return run_config(settings, where=__file__, base=base)
