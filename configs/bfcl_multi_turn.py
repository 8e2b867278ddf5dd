"""Template for a Qwen folder on a GPU: BFCL's multi-turn tasks on their simulators, judged by state and responses.

A task is a dialogue of several requests; it is solved when the gold calls' effects are there after every one of them.

  python experiments/train.py --config configs/bfcl_multi_turn.py --workdir runs/bfcl_multi_turn \
    --config.model.path=path/to/folder

Needs the extra: pip install -e '.[bfcl]' && pip install --no-deps bfcl-eval
Paper: Patil et al., 2025, "The Berkeley Function Calling Leaderboard". Result: not yet run.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("qwen_grpo.py"), smoke=smoke)
  settings = {
    "task": {
      "family": "bfcl",
      "tool": "",
      "difficulty": 1,
      "options": {"category": "multi_turn_base"},
      "max_output_chars": 4000,
      "system": "",
    },
    "hosting": {"processes": 16},
    "rollout": {"max_tokens": 12288, "max_turns": 40},
    "engine": {"slots": 64},
    "pack": {"row_tokens": 24576, "row_actions": 12288},
    "reward_options": {"soft_overlong": {"max_tokens": 4096, "buffer": 1024}},
  }
  if smoke:  # bytes for tokens: texts are four times as long
    settings["hosting"]["processes"] = 1
    settings["engine"]["slots"] = 4
    settings["rollout"] |= {"max_tokens": 24576, "max_turns": 3, "turn_tokens": 64}
    settings["pack"] = {"row_tokens": 32768, "row_actions": 4096}
  return run_config(settings, where=__file__, base=base)
