"""A tiny model from scratch walks through TextWorld's mazes to a coin, by the directions it is given.

The demonstrations are walkthroughs; the cold start is short. Games are made on the disk when they are first played, in
seconds: `python -m agentrl.envs.adapters.textworld --game coin --split train --count 128` makes them ahead.

  python experiments/train.py --config configs/textworld.py --workdir runs/textworld

Needs the extra: pip install -e '.[textworld]'
Paper: Cote et al., 2018 (https://arxiv.org/abs/1806.11532). Result: held-out success 20.3 %
before RL, 81.2 % after (70.0 to 88.9; 64 games, one seed, results/textworld/seed0).
"""

from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  settings = {
    "model": {"layers": 3, "width": 128, "heads": 4, "kv_heads": 2, "head_dim": 32, "ffn": 384, "vocabulary": 1024},
    "chat": {"style": "dialogue"},
    "task": {"family": "textworld", "tool": "", "options": {"game": "coin", "steps": 8, "games": 128}},
    "hosting": {"processes": 2},
    "rollout": {"groups": 12, "group_size": 8, "max_tokens": 512, "max_turns": 8, "turn_tokens": 12},
    "engine": {"slots": 48, "decode_tokens": 12, "feed_tokens": 128, "prefill_tokens": 64, "live_step": 128},
    "pack": {"row_tokens": 2048, "row_actions": 1024, "rows": 2},
    "reward": {"correct": 1.0},
    "cold_start": {"steps": 24, "batch": 8, "learning_rate": 2e-3},
    "algo": {"reduction": "token_mean"},
    "optimizer": {"learning_rate": 5e-4, "schedule": "linear"},
    "train": {"steps": 60, "eval_every": 12, "checkpoint_every": 20},
    "eval": {"tasks": 64},
  }
  if smoke:
    settings["model"] |= {"layers": 1, "width": 32, "head_dim": 8, "ffn": 48, "vocabulary": 0}
    settings["engine"]["slots"] = 4
    settings["hosting"]["processes"] = 1
    settings["rollout"] |= {"groups": 2, "group_size": 2, "max_tokens": 2048}
    settings["pack"] = {"row_tokens": 4096, "row_actions": 4096, "rows": 2}
    settings["cold_start"] |= {"steps": 1, "batch": 2}
    settings["train"] = {"steps": 2, "eval_every": 2, "checkpoint_every": 1}
    settings["eval"] = {"tasks": 2}
  return run_config(settings, where=__file__)
