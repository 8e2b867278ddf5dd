"""Five methods of a fork, each an arm that names functions and modules of the fork: nothing of agentrl is touched."""

BASE = {
  "model": {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "ffn": 48},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "rollout": {"groups": 2, "group_size": 2, "max_tokens": 40, "workers": 2},
  "engine": {"slots": 4, "decode_tokens": 8, "live_step": 40},
  "pack": {"row_tokens": 128, "row_actions": 96, "rows": 1},
  "reward": {"correct": 1.0},
  "train": {"steps": 2, "eval_every": 2, "checkpoint_every": 2, "trajectories_every": 1},
  "eval": {"tasks": 2},
}
ARMS = {
  "topr_opo": {"algo": {"policy_loss": "my_method.topr_opo:topr", "credit": "my_method.topr_opo:opo"}},
  "toolrl": {
    "reward": {"my_method.rewards:structured_calls": 1.0},
    "reward_options": {"my_method.rewards:structured_calls": {"largest": 2.0}},
  },
  "progress": {
    "algo": {
      "credit": "my_method.progress:beyond_forecast",
      "terms": {"progress": {"term": "my_method.progress:progress", "weight": 0.5, "hidden": 8}},
    }
  },
  "best_of": {"rollout": {"strategy": "my_method.best_of"}, "strategy": {"tries": 2}},
  "stubborn": {"curriculum": {"name": "my_method.curricula:stubborn"}},
}
