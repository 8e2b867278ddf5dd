"""A tiny model from scratch learns to write Python for arithmetic: cold start on mixed demonstrations, then GRPO.

Three operands of two digits. A quarter of the demonstrations write the expression and read what the interpreter says,
the others answer by head, which a model of this size cannot do. Each call is a guest of the sandbox, from interpreters
that wait for it.

  python experiments/train.py --config configs/python_math.py --workdir runs/python_math

Paper: Shao et al., 2024 (https://arxiv.org/abs/2402.03300). Result: held-out success 23.4 % before
RL, 80.9 % after (75.6 to 85.2; one seed, results/python_math/seed0).
"""

from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  settings = {
    "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
    "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
    "task": {"family": "arithmetic", "tool": "python", "difficulty": 2},
    "rollout": {"groups": 16, "group_size": 8, "max_tokens": 80, "max_turns": 3},
    "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
    "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
    "reward": {"correct": 1.0},
    "cold_start": {"steps": 450, "batch": 64, "direct_share": 0.75, "learning_rate": 3e-3},
    "algo": {"reduction": "token_mean"},
    "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
    "train": {"steps": 150, "eval_every": 50, "checkpoint_every": 50},
    "eval": {"tasks": 256},
  }
  if smoke:
    settings["cold_start"] |= {"steps": 2, "batch": 8}
    settings["train"] = {"steps": 2, "eval_every": 2, "checkpoint_every": 1}
    settings["eval"] = {"tasks": 4}
    settings["rollout"] |= {"groups": 2, "group_size": 2}
  return run_config(settings, where=__file__)
