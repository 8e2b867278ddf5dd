"""Two lookups and an answer, with independent samples: the baseline of the branching arms, at the same group size.

A fifth of the demonstrations look up a key, then what it stands for; the others guess. RL has to find out that looking
pays, and to copy keys without a slip, also those that only a tool result shows.

  python experiments/train.py --config configs/branching_baseline.py --workdir runs/branching_baseline

Paper: Dong et al., 2025 (https://arxiv.org/abs/2507.19849), whose baseline is GRPO. Result: 16 -> 66 %, 8 ->
23 % and 25 -> 100 % (seeds 0, 1, 2); results/branching/baseline.
"""

from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  settings = {
    "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
    "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
    "task": {"family": "key_lookup", "tool": "lookup", "difficulty": 3},
    "rollout": {
      "groups": 12, "group_size": 8, "max_tokens": 112, "max_turns": 4,
      "branching": {"initial": 4, "window": 8},
    },
    "engine": {"slots": 48, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
    "pack": {"row_tokens": 512, "row_actions": 320, "rows": 2},
    "reward": {"correct": 1.0},
    "cold_start": {"steps": 600, "batch": 64, "direct_share": 0.8, "learning_rate": 3e-3},
    "algo": {"reduction": "token_mean"},
    "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
    "train": {"steps": 200, "eval_every": 25, "checkpoint_every": 50},
    "eval": {"tasks": 256},
  }  # fmt: skip
  if smoke:
    settings["cold_start"] |= {"steps": 2, "batch": 8}
    settings["train"] = {"steps": 2, "eval_every": 2, "checkpoint_every": 1}
    settings["eval"] = {"tasks": 4}
    settings["rollout"] |= {"groups": 2, "group_size": 4}
    settings["rollout"]["branching"] |= {"initial": 2}
  return run_config(settings, where=__file__)
