"""A tiny model from scratch answers questions over a database of countries and cities, with SQL in JSON calls.

The cold start ends with policies that write good SQL about the wrong country: names are remembered, not copied.

  python experiments/train.py --config configs/sql_qa.py --workdir runs/sql_qa

Needs the extra: pip install -e '.[sql]'
Paper: Shao et al., 2024 (https://arxiv.org/abs/2402.03300). Result: none; held-out success 12.5 %
before RL, 10.2 % after (results/sql_qa/seed0, LOG.md).
"""

from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  settings = {
    "model": {"layers": 3, "width": 128, "heads": 4, "kv_heads": 2, "head_dim": 32, "ffn": 384, "vocabulary": 1024},
    "chat": {"style": "chatml_json", "template": "chatml"},
    "task": {"family": "sql_qa", "tool": "sql", "options": {"database": "geography"}, "max_output_chars": 800},
    "rollout": {"groups": 12, "group_size": 8, "max_tokens": 640, "max_turns": 4},
    "engine": {"slots": 48, "decode_tokens": 16, "feed_tokens": 256, "prefill_tokens": 64, "live_step": 128},
    "pack": {"row_tokens": 2048, "row_actions": 1024, "rows": 2},
    "reward": {"correct": 1.0},
    "cold_start": {"steps": 1600, "batch": 8, "learning_rate": 2e-3},
    "algo": {"reduction": "token_mean"},
    "optimizer": {"learning_rate": 5e-4, "schedule": "linear"},
    "train": {"steps": 80, "eval_every": 100, "checkpoint_every": 20},
    "eval": {"tasks": 128},
  }
  if smoke:
    settings["model"] |= {"layers": 1, "width": 32, "head_dim": 8, "ffn": 48, "vocabulary": 0}
    settings["engine"]["slots"] = 4
    settings["rollout"] |= {"groups": 2, "group_size": 2, "max_tokens": 2048}
    settings["pack"] = {"row_tokens": 4096, "row_actions": 4096, "rows": 2}
    settings["cold_start"] |= {"steps": 2, "batch": 4}
    settings["train"] = {"steps": 2, "eval_every": 2, "checkpoint_every": 1}
    settings["eval"] = {"tasks": 4}
  return run_config(settings, where=__file__)
