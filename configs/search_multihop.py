"""Template for a Qwen folder on a GPU: questions over an encyclopaedia, with tools that search and read it.

Answers stand in one to three articles; no article that bears a held-out answer is asked about in training.

  python experiments/train.py --config configs/search_multihop.py --workdir runs/search_multihop \
    --config.model.path=path/to/folder

Needs the extra: pip install -e '.[search]'
Paper: Jin et al., 2025 (https://arxiv.org/abs/2503.09516). Result: not yet run.
"""

import pathlib

from agentrl.training import config
from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  base = config.load(pathlib.Path(__file__).with_name("qwen_grpo.py"), smoke=smoke)
  settings = {
    "task": {
      "family": "multihop",
      "tool": "search",
      "difficulty": 2,
      "system": "Answer the question. Search the encyclopaedia and read in it; end with the answer alone.",
    },
    "rollout": {"max_tokens": 4096, "max_turns": 10},
    "reward_options": {"soft_overlong": {"max_tokens": 2048, "buffer": 512}},
  }
  if smoke:  # bytes for tokens: texts are four times as long
    settings["rollout"]["max_tokens"] = 4096
    settings["pack"] = {"row_tokens": 8192, "row_actions": 8192}
  return run_config(settings, where=__file__, base=base)
