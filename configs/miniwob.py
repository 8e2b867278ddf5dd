"""A tiny model from scratch clicks what a web page's instruction asks for, in a real browser.

The demonstrations are those of the scripted solvers. Pages are read as text; see `envs/adapters/miniwob/`.

  python experiments/train.py --config configs/miniwob.py --workdir runs/miniwob

Needs the extra, pip install -e '.[miniwob]', and a browser: apt-get install chromium chromium-driver
Paper: Liu et al., 2018 (https://arxiv.org/abs/1802.08802). Result: not yet run.
"""

from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  settings = {
    "model": {"layers": 3, "width": 128, "heads": 4, "kv_heads": 2, "head_dim": 32, "ffn": 384, "vocabulary": 1024},
    "chat": {"style": "chatml_json", "template": "chatml"},
    "task": {
      "family": "miniwob", "tool": "", "options": {"tasks": ("click-button", "click-link", "click-dialog")},
    },
    "hosting": {"processes": 2, "episodes": 8},
    "rollout": {"groups": 4, "group_size": 8, "max_tokens": 1536, "max_turns": 2, "turn_tokens": 256},
    "engine": {"slots": 16, "decode_tokens": 16, "feed_tokens": 256, "prefill_tokens": 128, "live_step": 256},
    "pack": {"row_tokens": 3072, "row_actions": 512, "rows": 2},
    "reward": {"correct": 1.0},
    "cold_start": {"steps": 60, "batch": 8, "learning_rate": 3e-3},
    "algo": {"reduction": "token_mean"},
    "optimizer": {"learning_rate": 5e-4, "schedule": "linear"},
    "train": {"steps": 60, "eval_every": 20, "checkpoint_every": 20},
    "eval": {"tasks": 64},
  }  # fmt: skip
  if smoke:
    settings["model"] |= {"layers": 1, "width": 32, "head_dim": 8, "ffn": 48, "vocabulary": 0}
    settings["engine"]["slots"] = 4
    settings["hosting"]["processes"] = 1
    settings["rollout"] |= {"groups": 2, "group_size": 2, "max_tokens": 6144, "turn_tokens": 1024}
    settings["pack"] = {"row_tokens": 6656, "row_actions": 4096, "rows": 2}
    settings["cold_start"] |= {"steps": 1, "batch": 2}
    settings["train"] = {"steps": 2, "eval_every": 2, "checkpoint_every": 1}
    settings["eval"] = {"tasks": 2}
  return run_config(settings, where=__file__)
